// Which instruction set computes: the best this processor has, or the one asked for.
#include "dispatch.h"

#include <atomic>
#include <cstring>

#include "box.h"

namespace lrn {

extern const KernelTable kernels_baseline;
extern const BoxKernelTable box_kernels_baseline;
#if defined(__x86_64__)
extern const KernelTable kernels_avx2, kernels_avx512;
extern const BoxKernelTable box_kernels_avx2, box_kernels_avx512;
#endif

namespace {

struct Isa {
    const char* name;
    const KernelTable* kernels;
    const BoxKernelTable* box_kernels;
    bool (*runs_here)();
};

// Best last.
const Isa sets[] = {
    {"baseline", &kernels_baseline, &box_kernels_baseline, [] { return true; }},
#if defined(__x86_64__)
    {"avx2", &kernels_avx2, &box_kernels_avx2,
     [] {
         __builtin_cpu_init();
         return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("f16c");
     }},
    {"avx512", &kernels_avx512, &box_kernels_avx512,
     [] {
         __builtin_cpu_init();
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
     }},
#endif
};
constexpr int set_count = sizeof sets / sizeof *sets;

const Isa& best() {
    int index = set_count - 1;
    while (!sets[index].runs_here()) --index;
    return sets[index];
}

std::atomic<const Isa*>& in_use() {
    static std::atomic<const Isa*> isa{&best()};
    return isa;
}

}  // namespace

const KernelTable& kernels_in_use() { return *in_use().load(std::memory_order_relaxed)->kernels; }

const BoxKernelTable& box_kernels_in_use() { return *in_use().load(std::memory_order_relaxed)->box_kernels; }

int isa_count() { return set_count; }
const char* isa_name(int index) { return sets[index].name; }
bool isa_runs_here(int index) { return sets[index].runs_here(); }
const char* isa_in_use() { return in_use().load(std::memory_order_relaxed)->name; }

bool choose_isa(const char* name) {
    for (const Isa& isa : sets)
        if (std::strcmp(isa.name, name) == 0 && isa.runs_here()) {
            in_use().store(&isa, std::memory_order_relaxed);
            return true;
        }
    return false;
}

}  // namespace lrn

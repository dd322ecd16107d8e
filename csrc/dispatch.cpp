// Which instruction set computes: the best this processor has, or the one asked for.
#include "dispatch.h"

#include <atomic>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "box.h"

namespace lrn {

#define LRN_DECLARE(set)                  \
    extern const KernelTable kernels_##set; \
    extern const BoxKernelTable box_kernels_##set;
LRN_DECLARE(baseline)
#if defined(__x86_64__)
LRN_DECLARE(avx2)
LRN_DECLARE(avx512)
#elif defined(__aarch64__)
LRN_DECLARE(neon)
#endif

namespace {

#if defined(__x86_64__)
// Asked of the processor itself: __builtin_cpu_supports needs a library that Windows lacks.
struct Processor {
    Processor() {
        unsigned a, b, c, d;
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return;
        const bool fma_and_f16c = (c & bit_FMA) && (c & bit_F16C);
        unsigned saved_by_system, high;
        asm("xgetbv" : "=a"(saved_by_system), "=d"(high) : "c"(0));
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !fma_and_f16c) return;
        const auto has = [&](unsigned bits, unsigned registers) {
            return (b & bits) == bits && (saved_by_system & registers) == registers;
        };
        avx2 = has(bit_AVX2, 0x06);
        avx512 = avx2 && has(bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL, 0xe6);
    }
    bool avx2 = false, avx512 = false;
};

const Processor& processor() {
    static const Processor it;
    return it;
}
#endif

struct Isa {
    const char* name;
    const KernelTable* kernels;
    const BoxKernelTable* box_kernels;
    bool (*runs_here)();
};

#define LRN_SET(set, runs_here) {#set, &kernels_##set, &box_kernels_##set, [] { return runs_here; }}

// Best last.
const Isa sets[] = {
    LRN_SET(baseline, true),
#if defined(__x86_64__)
    LRN_SET(avx2, processor().avx2),
    LRN_SET(avx512, processor().avx512),
#elif defined(__aarch64__)
    LRN_SET(neon, true),
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

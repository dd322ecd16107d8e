#include <sched.h>

#include "posix.hpp"

namespace lrn::platform {

void advise_large_pages(const void* array, std::size_t bytes) {
    constexpr std::size_t worth_it = 4 << 20;
    if (bytes < worth_it) return;
    const std::uintptr_t page = page_size(), first = reinterpret_cast<std::uintptr_t>(array);
    const std::uintptr_t begin = (first + page - 1) / page * page, end = (first + bytes) / page * page;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // advice: may be refused
}

int usable_processors() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    const unsigned count = std::thread::hardware_concurrency();
    return count ? int(count) : 1;
}

}  // namespace lrn::platform

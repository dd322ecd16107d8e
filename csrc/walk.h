// What the walks over windows along one axis and over boxes share.
#pragma once

#include <cstdint>

#include "tile.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lrn {

// Kernels compute with subnormals whatever mode the thread was left in, and leave no flags.
class CleanArithmetic {
#if defined(__x86_64__)
public:
    CleanArithmetic() : saved(_mm_getcsr()) { _mm_setcsr(0x1f80); }
    ~CleanArithmetic() { _mm_setcsr(saved); }

private:
    unsigned saved;
#elif defined(__aarch64__)
public:
    CleanArithmetic() {
        asm volatile("mrs %0, fpcr" : "=r"(saved));
        asm volatile("msr fpcr, %0" : : "r"(saved & ~(std::uint64_t(1) << 24)));
    }
    ~CleanArithmetic() { asm volatile("msr fpcr, %0" : : "r"(saved)); }

private:
    std::uint64_t saved;
#else
public:
    CleanArithmetic() {}
#endif
};

Power power_of(double beta);

// Fresh memory in large pages costs a fraction of what the small ones do. `out` is dense.
void advise_large_pages(const void* out, std::int64_t bytes);

}  // namespace lrn

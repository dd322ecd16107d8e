// What differs between operating systems and between processors outside the kernels: platform/
// has one file a system. Nothing else names a system.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__GNUC__) && !defined(__clang__)
#error "lrnorm needs GCC or Clang: the kernels use their vector extensions. On Windows use clang-cl or clang++."
#elif __SIZEOF_POINTER__ != 8
#error "lrnorm needs a 64-bit processor: sizes and offsets of arrays are 64-bit numbers."
#elif __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "lrnorm needs a little-endian processor: the kernels take numbers apart in that byte order."
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Whether long double has the digits and the range that real.h needs, in hardware. Compilers for
// Windows disagree on it.
#if __LDBL_MANT_DIG__ == 64 && !defined(_WIN32)
#define LRN_LONG_DOUBLE 1
#endif

namespace lrn::platform {

// ---- the system --------------------------------------------------------------------------------

std::size_t page_size();

// Fresh pages that read as zero, at a multiple of `alignment` where the system can do that; null
// where there is no memory.
void* map_pages(std::size_t bytes, std::size_t alignment);
void unmap_pages(void* pages, std::size_t bytes);

// The pages stay mapped, but the system may take their contents whenever it wants memory. False:
// the system cannot do that.
bool mark_free(void* pages, std::size_t bytes);

// Advice that the memory of an array be found in large pages, which costs a fraction of what
// small ones do.
void advise_large_pages(const void* array, std::size_t bytes);

// Processors that this process may use.
int usable_processors();

// Calls `reset` in the child of every later fork, where the system has forks.
void on_fork_in_child(void (*reset)());

// Stops the calling thread for good.
[[noreturn]] void stop_thread();

// ---- the processor -----------------------------------------------------------------------------

// Stores around the cache gain where the processor has them; a row is then built apart and copied.
#if defined(__x86_64__)
constexpr bool has_streaming_stores = true;
#else
constexpr bool has_streaming_stores = false;
#endif

// After stores around the cache, before another thread is told of them.
inline void finish_streaming() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

// Between two looks at what another thread will change.
inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Kernels compute with subnormals and round to nearest whatever mode the thread was left in, and
// leave no flags.
class CleanArithmetic {
public:
#if defined(__x86_64__)
    CleanArithmetic() : control(_mm_getcsr()) { _mm_setcsr(0x1f80); }
    ~CleanArithmetic() { _mm_setcsr(control); }

private:
    unsigned control;
#elif defined(__aarch64__)
    CleanArithmetic() {
        asm volatile("mrs %0, fpcr" : "=r"(control));
        asm volatile("mrs %0, fpsr" : "=r"(flags));
        asm volatile("msr fpcr, %0" : : "r"(std::uint64_t(0)));
    }
    ~CleanArithmetic() {
        asm volatile("msr fpcr, %0" : : "r"(control));
        asm volatile("msr fpsr, %0" : : "r"(flags));
    }

private:
    std::uint64_t control, flags;
#else
    CleanArithmetic() {}
#endif
    CleanArithmetic(const CleanArithmetic&) = delete;
    CleanArithmetic& operator=(const CleanArithmetic&) = delete;
};

}  // namespace lrn::platform

// Vector and element types, and how to read and write them. Included by the file of one
// instruction set, which has defined vector_bytes before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// Small functions of hot loops: out of line, their vectors go through memory.
#if defined(LRN_SMALL)
#define LRN_INLINE inline
#else
#define LRN_INLINE [[gnu::always_inline]] inline
#endif

namespace lrn {
namespace {

using i64 = std::int64_t;

constexpr int float_lanes = vector_bytes / 4;
constexpr int double_lanes = vector_bytes / 8;

typedef float vf __attribute__((vector_size(vector_bytes)));
typedef double vd __attribute__((vector_size(vector_bytes)));
typedef std::int32_t vi __attribute__((vector_size(vector_bytes)));
typedef std::uint32_t vu __attribute__((vector_size(vector_bytes)));
typedef std::uint64_t vul __attribute__((vector_size(vector_bytes)));
typedef float vf_half __attribute__((vector_size(vector_bytes / 2)));
typedef std::uint16_t vh __attribute__((vector_size(vector_bytes / 2)));

struct f16 {
    std::uint16_t bits;
};
struct bf16 {
    std::uint16_t bits;
};

struct Doubles {  // as many as there are floats in a vector
    vd low, high;
};
inline Doubles operator+(Doubles a, Doubles b) { return {a.low + b.low, a.high + b.high}; }

template <class V, class T>
inline V load_raw(const T* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class V, class T>
inline void store_raw(T* p, V v) {
    std::memcpy(p, &v, sizeof v);
}

inline vf all(float a) { return a - vf{}; }
inline vd all(double a) { return a - vd{}; }

template <class To, class From>
inline To bits_of(From v) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &v, sizeof to);
    return to;
}

}  // namespace
}  // namespace lrn

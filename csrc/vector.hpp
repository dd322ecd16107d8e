// The few vector operations the kernels use, over the compiler's generic vectors: chooses the file
// of the instruction set this is compiled for, and holds what all sets share. Everything is in an
// anonymous namespace: this file is compiled once per instruction set, and a function shared
// between two sets could be linked from the wrong one.
#pragma once

#if defined(LRN_GENERIC)
#include "vector/generic.hpp"
#elif defined(__AVX512F__)
#include "vector/avx512.hpp"
#elif defined(__AVX2__)
#include "vector/avx2.hpp"
#elif defined(__SSE2__)
#include "vector/sse2.hpp"
#elif defined(__aarch64__)
#include "vector/neon.hpp"
#else
#include "vector/generic.hpp"
#endif

namespace lrn {
namespace {

template <class S>
constexpr int digits_of = 24;
template <>
constexpr int digits_of<f16> = 11;
template <>
constexpr int digits_of<bf16> = 8;

inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
inline i64 most(i64 a, i64 b) { return a > b ? a : b; }

// Numbers v >= 0 outside [low, high], and nan: one comparison, of their bits as whole numbers that
// begin with the smallest one at `low`. Where low > high all are outside.
class Beyond {
public:
    Beyond(float low, float high)
        : first(low > high ? 1 : 0x80000000 - bits_of<std::uint32_t>(low)),
          last(low > high ? smallest : int(bits_of<std::uint32_t>(high) + first)) {}
    void add(vf v) {
        const vi place = places(v);
        farthest = place > farthest ? place : farthest;
    }
    bool any() const { return lanes_above(farthest, last) != 0; }  // of all that were added
    unsigned lanes(vf v) const { return lanes_above(places(v), last); }

private:
    vi places(vf v) const { return bits_of<vi>(bits_of<vu>(v) + first); }
    static constexpr int smallest = -0x7fffffff - 1;
    std::uint32_t first;
    int last;
    vi farthest = vi{} + smallest;
};

inline unsigned beyond(vf v, float low, float high) { return Beyond(low, high).lanes(v); }

// ---- lines of the cache ----------------------------------------------------------------------

constexpr i64 line_bytes = 64;
inline i64 bytes_to_line(const void* p) { return i64(-std::uintptr_t(p) & (line_bytes - 1)); }

// ---- elements in memory ----------------------------------------------------------------------

inline vf load(const float* p) { return load_raw<vf>(p); }
inline void store(float* p, vf v) { store_raw(p, v); }
inline vd load(const double* p) { return load_raw<vd>(p); }
inline void store(double* p, vd v) { store_raw(p, v); }

inline vf load(const bf16* p) {
    const vu wide = __builtin_convertvector(load_raw<vh>(p), vu);
    return bits_of<vf>(wide << 16);
}
// To nearest, ties to even. A nan stays one: those here come from a bfloat16 or the processor, and
// have nothing in the lower half that could run over.
inline void store(bf16* p, vf v) {
    const vu bits = bits_of<vu>(v), rounded = bits + 0x7fff + ((bits >> 16) & 1);
    store_raw(p, __builtin_convertvector(rounded >> 16, vh));
}

// A full vector from `count` elements, at most as many as it holds; the lanes beyond hold zeros.
// Through memory, where the set has no masked loads and stores of its own.
template <class S>
[[gnu::noinline]] auto load_part(const S* p, i64 count) {
    S part[vector_bytes / (sizeof(S) == 8 ? 8 : 4)] = {};
    std::memcpy(part, p, std::size_t(count) * sizeof(S));
    return load(part);
}
template <class S, class V>
[[gnu::noinline]] void store_part(S* p, V v, i64 count) {
    S part[vector_bytes / (sizeof(S) == 8 ? 8 : 4)];
    store(part, v);
    std::memcpy(p, part, std::size_t(count) * sizeof(S));
}

// One element, by the same conversions.
template <class S>
inline double one(const S* p) {
    return load_part(p, 1)[0];
}
template <class S>
inline void put_one(S* p, double value) {
    if constexpr (sizeof(S) == 8) *p = value;
    // A nan of software arithmetic may have all bits set, which rounding to bfloat16 would carry over.
    else store_part(p, all(value == value ? float(value) : __builtin_nanf("")), 1);
}

// Copies a row around the cache: whole lines of it alone, the ends are stored plainly. A line that
// both kinds of stores reach would be written twice.
template <class S>
inline void stream_row(S* to, const S* from, i64 count) {
    const i64 bytes = count * i64(sizeof(S));
    i64 i = least(bytes, bytes_to_line(to));
    const i64 end = bytes - (bytes - i) % line_bytes;
    char* out = reinterpret_cast<char*>(to);
    const char* in = reinterpret_cast<const char*>(from);
    std::memcpy(out, in, std::size_t(i));
    for (; i < end; i += vector_bytes)
        stream(reinterpret_cast<float*>(out + i), load_raw<vf>(in + i));
    std::memcpy(out + i, in + i, std::size_t(bytes - i));
}

}  // namespace
}  // namespace lrn

// Any other processor: 16-byte vectors, lane by lane where the compiler knows no better.
#pragma once

namespace lrn {
namespace {
constexpr int vector_bytes = 16;
#if defined(__FMA__) || defined(__FP_FAST_FMA)
constexpr bool has_fma = true;
#else
constexpr bool has_fma = false;
#endif
}  // namespace
}  // namespace lrn

#include "float16.hpp"

namespace lrn {
namespace {

constexpr int estimate_digits = 23;
inline unsigned lanes_above(vi a, int limit) {
    unsigned mask = 0;
    for (int i = 0; i < float_lanes; ++i) mask |= unsigned(a[i] > limit) << i;
    return mask;
}
template <class V, class Lane>
inline V each(V v, Lane lane) {
    for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i) v[i] = lane(i);
    return v;
}
// For each type its own builtin: the one for doubles would convert floats there and back.
inline vf fma(vf a, vf b, vf c) {
    if constexpr (has_fma) return each(a, [&](int i) { return __builtin_fmaf(a[i], b[i], c[i]); });
    return a * b + c;
}
inline vd fma(vd a, vd b, vd c) {
    if constexpr (has_fma) return each(a, [&](int i) { return __builtin_fma(a[i], b[i], c[i]); });
    return a * b + c;
}
template <class V>
inline V fnma(V a, V b, V c) {
    return fma(-a, b, c);
}
inline vd root(vd a) { return each(a, [&](int i) { return __builtin_sqrt(a[i]); }); }
inline vf rsqrt_estimate(vf a) { return each(a, [&](int i) { return 1 / __builtin_sqrtf(a[i]); }); }
inline vf reciprocal_estimate(vf a) { return 1 / a; }
template <class V>
inline unsigned outside(V a, V low, V high) {
    unsigned mask = 0;
    for (unsigned i = 0; i < sizeof(V) / sizeof(a[0]); ++i)
        mask |= unsigned(a[i] < low[i] || a[i] > high[i]) << i;
    return mask;
}
inline void stream(float* p, vf v) { store_raw(p, v); }

inline Doubles widen(vf v) {
    vf_half part[2];
    std::memcpy(part, &v, sizeof v);
    return {__builtin_convertvector(part[0], vd), __builtin_convertvector(part[1], vd)};
}
inline vf narrow(Doubles v) {
    const vf_half part[2] = {__builtin_convertvector(v.low, vf_half),
                             __builtin_convertvector(v.high, vf_half)};
    vf both;
    std::memcpy(&both, part, sizeof both);
    return both;
}
inline Doubles load_doubles(const float* p) {
    return widen(load_raw<vf>(p));
}

}  // namespace
}  // namespace lrn

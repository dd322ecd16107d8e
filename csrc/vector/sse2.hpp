// SSE2, which every x86-64 processor has: 16-byte vectors, estimates of 11 bits, no FMA.
#pragma once

#include <immintrin.h>

namespace lrn {
namespace {
constexpr int vector_bytes = 16;
constexpr bool has_fma = false;
}  // namespace
}  // namespace lrn

#include "float16.hpp"

namespace lrn {
namespace {

constexpr int estimate_digits = 11;
inline unsigned lanes_above(vi a, int limit) {
    return unsigned(_mm_movemask_ps(_mm_castsi128_ps(
        _mm_cmpgt_epi32(__m128i(a), _mm_set1_epi32(limit)))));
}
inline vf fma(vf a, vf b, vf c) { return a * b + c; }
inline vd fma(vd a, vd b, vd c) { return a * b + c; }
inline vf fnma(vf a, vf b, vf c) { return c - a * b; }
inline vd fnma(vd a, vd b, vd c) { return c - a * b; }
inline vd root(vd a) { return vd(_mm_sqrt_pd(__m128d(a))); }
inline vf rsqrt_estimate(vf a) { return vf(_mm_rsqrt_ps(__m128(a))); }
inline unsigned outside(vf a, vf low, vf high) {
    return unsigned(_mm_movemask_ps(_mm_or_ps(_mm_cmplt_ps(__m128(a), __m128(low)),
                                              _mm_cmpgt_ps(__m128(a), __m128(high)))));
}
inline unsigned outside(vd a, vd low, vd high) {
    return unsigned(_mm_movemask_pd(_mm_or_pd(_mm_cmplt_pd(__m128d(a), __m128d(low)),
                                              _mm_cmpgt_pd(__m128d(a), __m128d(high)))));
}
inline vf reciprocal_estimate(vf a) { return vf(_mm_rcp_ps(__m128(a))); }
inline void stream(float* p, vf v) { _mm_stream_ps(p, __m128(v)); }

inline Doubles widen(vf v) {
    const __m128 a = __m128(v);
    return {vd(_mm_cvtps_pd(a)), vd(_mm_cvtps_pd(_mm_movehl_ps(a, a)))};
}
inline vf narrow(Doubles v) {
    return vf(_mm_movelh_ps(_mm_cvtpd_ps(__m128d(v.low)), _mm_cvtpd_ps(__m128d(v.high))));
}
inline Doubles load_doubles(const float* p) {
    return widen(load_raw<vf>(p));
}

}  // namespace
}  // namespace lrn

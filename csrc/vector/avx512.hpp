// AVX-512 with F, BW, DQ and VL: 64-byte vectors, estimates of 14 bits, masks.
#pragma once

#include <immintrin.h>

namespace lrn {
namespace {
constexpr int vector_bytes = 64;
constexpr bool has_fma = true;
}  // namespace
}  // namespace lrn

#include "types.hpp"

namespace lrn {
namespace {

constexpr int estimate_digits = 14;
inline unsigned lanes_above(vi a, int limit) {
    return _mm512_cmpgt_epi32_mask(__m512i(a), _mm512_set1_epi32(limit));
}
inline vf fma(vf a, vf b, vf c) { return vf(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c))); }
inline vd fma(vd a, vd b, vd c) { return vd(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(c))); }
inline vf fnma(vf a, vf b, vf c) { return vf(_mm512_fnmadd_ps(__m512(a), __m512(b), __m512(c))); }
inline vd fnma(vd a, vd b, vd c) { return vd(_mm512_fnmadd_pd(__m512d(a), __m512d(b), __m512d(c))); }
inline vd root(vd a) { return vd(_mm512_sqrt_pd(__m512d(a))); }
inline vf rsqrt_estimate(vf a) { return vf(_mm512_rsqrt14_ps(__m512(a))); }
inline unsigned outside(vf a, vf low, vf high) {
    return _mm512_cmp_ps_mask(__m512(a), __m512(low), _CMP_LT_OQ) |
           _mm512_cmp_ps_mask(__m512(a), __m512(high), _CMP_GT_OQ);
}
inline unsigned outside(vd a, vd low, vd high) {
    return _mm512_cmp_pd_mask(__m512d(a), __m512d(low), _CMP_LT_OQ) |
           _mm512_cmp_pd_mask(__m512d(a), __m512d(high), _CMP_GT_OQ);
}
inline vf reciprocal_estimate(vf a) { return vf(_mm512_rcp14_ps(__m512(a))); }
inline void stream(float* p, vf v) { _mm512_stream_ps(p, __m512(v)); }

inline Doubles widen(vf v) {
    const __m512 a = __m512(v);
    return {vd(_mm512_cvtps_pd(_mm512_castps512_ps256(a))),
            vd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)))};
}
inline vf narrow(Doubles v) {
    return vf(_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(__m512d(v.low))),
                                 _mm512_cvtpd_ps(__m512d(v.high)), 1));
}
inline Doubles load_doubles(const float* p) {
    return {vd(_mm512_cvtps_pd(_mm256_loadu_ps(p))),
            vd(_mm512_cvtps_pd(_mm256_loadu_ps(p + double_lanes)))};
}

inline vf load(const f16* p) { return vf(_mm512_cvtph_ps(load_raw<__m256i>(p))); }
inline void store(f16* p, vf v) {
    store_raw(p, _mm512_cvtps_ph(__m512(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// The first `count` lanes from memory, zeros in the others.
inline vf load_part(const float* p, i64 count) {
    return vf(_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p));
}
inline vd load_part(const double* p, i64 count) {
    return vd(_mm512_maskz_loadu_pd(__mmask8((1u << count) - 1), p));
}
inline void store_part(float* p, vf v, i64 count) {
    _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), __m512(v));
}
inline void store_part(double* p, vd v, i64 count) {
    _mm512_mask_storeu_pd(p, __mmask8((1u << count) - 1), __m512d(v));
}

}  // namespace
}  // namespace lrn

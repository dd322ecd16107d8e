// AVX2 with FMA and F16C: 32-byte vectors, estimates of 11 bits.
#pragma once

#include <immintrin.h>

namespace lrn {
namespace {
constexpr int vector_bytes = 32;
constexpr bool has_fma = true;
}  // namespace
}  // namespace lrn

#include "types.hpp"

namespace lrn {
namespace {

constexpr int estimate_digits = 11;
inline unsigned lanes_above(vi a, int limit) {
    return unsigned(_mm256_movemask_ps(_mm256_castsi256_ps(
        _mm256_cmpgt_epi32(__m256i(a), _mm256_set1_epi32(limit)))));
}
inline vf fma(vf a, vf b, vf c) { return vf(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c))); }
inline vd fma(vd a, vd b, vd c) { return vd(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(c))); }
inline vf fnma(vf a, vf b, vf c) { return vf(_mm256_fnmadd_ps(__m256(a), __m256(b), __m256(c))); }
inline vd fnma(vd a, vd b, vd c) { return vd(_mm256_fnmadd_pd(__m256d(a), __m256d(b), __m256d(c))); }
inline vd root(vd a) { return vd(_mm256_sqrt_pd(__m256d(a))); }
inline vf rsqrt_estimate(vf a) { return vf(_mm256_rsqrt_ps(__m256(a))); }
inline unsigned outside(vf a, vf low, vf high) {
    return unsigned(_mm256_movemask_ps(_mm256_or_ps(
        _mm256_cmp_ps(__m256(a), __m256(low), _CMP_LT_OQ),
        _mm256_cmp_ps(__m256(a), __m256(high), _CMP_GT_OQ))));
}
inline unsigned outside(vd a, vd low, vd high) {
    return unsigned(_mm256_movemask_pd(_mm256_or_pd(
        _mm256_cmp_pd(__m256d(a), __m256d(low), _CMP_LT_OQ),
        _mm256_cmp_pd(__m256d(a), __m256d(high), _CMP_GT_OQ))));
}
inline vf reciprocal_estimate(vf a) { return vf(_mm256_rcp_ps(__m256(a))); }
inline void stream(float* p, vf v) { _mm256_stream_ps(p, __m256(v)); }

inline Doubles widen(vf v) {
    const __m256 a = __m256(v);
    return {vd(_mm256_cvtps_pd(_mm256_castps256_ps128(a))),
            vd(_mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)))};
}
inline vf narrow(Doubles v) {
    return vf(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(__m256d(v.low))),
                                   _mm256_cvtpd_ps(__m256d(v.high)), 1));
}
inline Doubles load_doubles(const float* p) {
    return {vd(_mm256_cvtps_pd(_mm_loadu_ps(p))),
            vd(_mm256_cvtps_pd(_mm_loadu_ps(p + double_lanes)))};
}

inline vf load(const f16* p) { return vf(_mm256_cvtph_ps(load_raw<__m128i>(p))); }
inline void store(f16* p, vf v) {
    store_raw(p, _mm256_cvtps_ph(__m256(v), _MM_FROUND_TO_NEAREST_INT));
}

inline __m256i first_lanes(i64 count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(count)), lane);
}
inline vf load_part(const float* p, i64 count) {
    return vf(_mm256_maskload_ps(p, first_lanes(count)));
}
inline vd load_part(const double* p, i64 count) {
    return vd(_mm256_maskload_pd(p, first_lanes(2 * count)));
}
inline void store_part(float* p, vf v, i64 count) {
    _mm256_maskstore_ps(p, first_lanes(count), __m256(v));
}
inline void store_part(double* p, vd v, i64 count) {
    _mm256_maskstore_pd(p, first_lanes(2 * count), __m256d(v));
}

}  // namespace
}  // namespace lrn

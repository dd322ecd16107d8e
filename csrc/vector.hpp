// The few vector operations the kernels use, over the compiler's generic vectors. Everything is
// in an anonymous namespace: this file is compiled once per instruction set, and a function
// shared between two sets could be linked from the wrong one.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lrn {
namespace {

using i64 = std::int64_t;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
#if defined(__FMA__) || defined(__FP_FAST_FMA)
constexpr bool has_fma = true;
#else
constexpr bool has_fma = false;
#endif

constexpr int F = vector_bytes / 4;  // floats in a vector
constexpr int D = vector_bytes / 8;  // doubles in a vector

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

template <class S>
constexpr int digits_of = 24;
template <>
constexpr int digits_of<f16> = 11;
template <>
constexpr int digits_of<bf16> = 8;

inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
inline i64 most(i64 a, i64 b) { return a > b ? a : b; }

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

// ---- what differs between instruction sets --------------------------------------------------

#if defined(__AVX512F__)
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
#elif defined(__AVX2__)
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
#elif defined(__SSE2__)
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
#else  // any other processor: 16-byte vectors, lane by lane where the compiler knows no better
constexpr int estimate_digits = 23;
inline unsigned lanes_above(vi a, int limit) {
    unsigned mask = 0;
    for (int i = 0; i < F; ++i) mask |= unsigned(a[i] > limit) << i;
    return mask;
}
template <class V, class Lane>
inline V each(V v, Lane lane) {
    for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i) v[i] = lane(i);
    return v;
}
template <class V>
inline V fma(V a, V b, V c) {
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
#endif

// Lanes outside [low, high], and nan, for v >= 0: one comparison, of the bits as whole numbers
// that begin with the smallest one at `low`.
inline unsigned beyond(vf v, float low, float high) {
    const std::uint32_t first = bits_of<std::uint32_t>(low), last = bits_of<std::uint32_t>(high);
    return lanes_above(bits_of<vi>(bits_of<vu>(v) + (0x80000000 - first)),
                       int(last - first - 0x80000000));
}

// ---- float <-> double ----------------------------------------------------------------------

struct Doubles {  // as many as there are floats in a vector
    vd low, high;
};

inline Doubles widen(vf v) {
#if defined(__AVX512F__)
    const __m512 a = __m512(v);
    return {vd(_mm512_cvtps_pd(_mm512_castps512_ps256(a))),
            vd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)))};
#elif defined(__AVX2__)
    const __m256 a = __m256(v);
    return {vd(_mm256_cvtps_pd(_mm256_castps256_ps128(a))),
            vd(_mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)))};
#elif defined(__SSE2__)
    const __m128 a = __m128(v);
    return {vd(_mm_cvtps_pd(a)), vd(_mm_cvtps_pd(_mm_movehl_ps(a, a)))};
#else
    vf_half part[2];
    std::memcpy(part, &v, sizeof v);
    return {__builtin_convertvector(part[0], vd), __builtin_convertvector(part[1], vd)};
#endif
}
inline vf narrow(Doubles v) {
#if defined(__AVX512F__)
    return vf(_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(__m512d(v.low))),
                                 _mm512_cvtpd_ps(__m512d(v.high)), 1));
#elif defined(__AVX2__)
    return vf(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(__m256d(v.low))),
                                   _mm256_cvtpd_ps(__m256d(v.high)), 1));
#elif defined(__SSE2__)
    return vf(_mm_movelh_ps(_mm_cvtpd_ps(__m128d(v.low)), _mm_cvtpd_ps(__m128d(v.high))));
#else
    const vf_half part[2] = {__builtin_convertvector(v.low, vf_half),
                             __builtin_convertvector(v.high, vf_half)};
    vf both;
    std::memcpy(&both, part, sizeof both);
    return both;
#endif
}

inline Doubles load_doubles(const float* p) {
#if defined(__AVX512F__)  // a conversion from memory needs no shuffle
    return {vd(_mm512_cvtps_pd(_mm256_loadu_ps(p))), vd(_mm512_cvtps_pd(_mm256_loadu_ps(p + D)))};
#elif defined(__AVX2__)
    return {vd(_mm256_cvtps_pd(_mm_loadu_ps(p))), vd(_mm256_cvtps_pd(_mm_loadu_ps(p + D)))};
#else
    return widen(load_raw<vf>(p));
#endif
}

// ---- 16-bit types <-> float ------------------------------------------------------------------

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

#if defined(__AVX512F__)
inline vf load(const f16* p) { return vf(_mm512_cvtph_ps(load_raw<__m256i>(p))); }
inline void store(f16* p, vf v) {
    store_raw(p, _mm512_cvtps_ph(__m512(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#elif defined(__F16C__)
inline vf load(const f16* p) { return vf(_mm256_cvtph_ps(load_raw<__m128i>(p))); }
inline void store(f16* p, vf v) {
    store_raw(p, _mm256_cvtps_ph(__m256(v), _MM_FROUND_TO_NEAREST_INT));
}
#else
inline vf load(const f16* p) {
    const vu half = __builtin_convertvector(load_raw<vh>(p), vu);
    const vu sign = (half & 0x8000) << 16, rest = half & 0x7fff;
    // The exponent moves from bias 15 to 127 by a multiplication, which subnormals follow.
    const vu scaled = bits_of<vu>(bits_of<vf>(rest << 13) * 0x1p112f);
    const vu special = (rest << 13) | 0x7f800000;
    return bits_of<vf>((rest >= 0x7c00 ? special : scaled) | sign);
}
inline void store(f16* p, vf v) {
    const vu bits = bits_of<vu>(v), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
    // Normal halves: round the mantissa in place. Subnormal ones: let an addition round.
    const vu normal = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    const vu small = bits_of<vu>(bits_of<vf>(magnitude) + 0.5f) - 0x3f000000;
    const vu finite = magnitude < (113u << 23) ? small : normal;
    const vu large = magnitude > 0x7f800000 ? vu{} + 0x7e00 : vu{} + 0x7c00;
    const vu half = magnitude >= 0x477ff000 ? large : finite;
    store_raw(p, __builtin_convertvector(half | sign, vh));
}
#endif

// A full vector from `count` elements, at most as many as it holds; the lanes beyond hold zeros. Masked
// where the set has masks, else through memory.
#if defined(__AVX512F__)
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
#elif defined(__AVX2__)
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
#endif
template <class S>
inline auto load_part(const S* p, i64 count) {
    S part[vector_bytes / (sizeof(S) == 8 ? 8 : 4)] = {};
    std::memcpy(part, p, std::size_t(count) * sizeof(S));
    return load(part);
}
template <class S, class V>
inline void store_part(S* p, V v, i64 count) {
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
    else store_part(p, all(float(value)), 1);
}

// Copies a row around the cache: what comes before the first whole line is stored plainly.
template <class S>
inline void stream_row(S* to, const S* from, i64 count) {
    const i64 bytes = count * i64(sizeof(S));
    i64 i = i64(-std::uintptr_t(to) & (vector_bytes - 1));
    if (i > bytes) i = bytes;
    char* out = reinterpret_cast<char*>(to);
    const char* in = reinterpret_cast<const char*>(from);
    std::memcpy(out, in, std::size_t(i));
    for (; i + vector_bytes <= bytes; i += vector_bytes)
        stream(reinterpret_cast<float*>(out + i), load_raw<vf>(in + i));
    std::memcpy(out + i, in + i, std::size_t(bytes - i));
}

}  // namespace
}  // namespace lrn

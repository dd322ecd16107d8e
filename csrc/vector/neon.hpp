// NEON, which every 64-bit Arm processor has: 16-byte vectors, FMA, float16 conversions. Its
// estimates have 8 bits; one Newton step, for which it has instructions, makes them 15.
#pragma once

#include <arm_neon.h>

namespace lrn {
namespace {
constexpr int vector_bytes = 16;
constexpr bool has_fma = true;
}  // namespace
}  // namespace lrn

#include "types.hpp"

namespace lrn {
namespace {

constexpr int estimate_digits = 15;
inline unsigned lanes_above(vi a, int limit) {
    const uint32x4_t bit = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgtq_s32(int32x4_t(a), vdupq_n_s32(limit)), bit));
}
inline vf fma(vf a, vf b, vf c) {
    return vf(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
}
inline vd fma(vd a, vd b, vd c) {
    return vd(vfmaq_f64(float64x2_t(c), float64x2_t(a), float64x2_t(b)));
}
inline vf fnma(vf a, vf b, vf c) {
    return vf(vfmsq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
}
inline vd fnma(vd a, vd b, vd c) {
    return vd(vfmsq_f64(float64x2_t(c), float64x2_t(a), float64x2_t(b)));
}
inline vd root(vd a) { return vd(vsqrtq_f64(float64x2_t(a))); }
inline vf rsqrt_estimate(vf a) {
    const float32x4_t v = float32x4_t(a), r = vrsqrteq_f32(v);
    return vf(vmulq_f32(r, vrsqrtsq_f32(vmulq_f32(v, r), r)));
}
inline vf reciprocal_estimate(vf a) {
    const float32x4_t v = float32x4_t(a), r = vrecpeq_f32(v);
    return vf(vmulq_f32(r, vrecpsq_f32(v, r)));
}
inline unsigned outside(vf a, vf low, vf high) {
    const uint32x4_t bit = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(uint32x4_t((a < low) | (a > high)), bit));
}
inline unsigned outside(vd a, vd low, vd high) {
    const uint64x2_t bit = {1, 2};
    return unsigned(vaddvq_u64(vandq_u64(uint64x2_t((a < low) | (a > high)), bit)));
}
inline void stream(float* p, vf v) { store_raw(p, v); }  // NEON has no such store

inline Doubles widen(vf v) {
    const float32x4_t a = float32x4_t(v);
    return {vd(vcvt_f64_f32(vget_low_f32(a))), vd(vcvt_high_f64_f32(a))};
}
inline vf narrow(Doubles v) {
    return vf(vcvt_high_f32_f64(vcvt_f32_f64(float64x2_t(v.low)), float64x2_t(v.high)));
}
inline Doubles load_doubles(const float* p) { return widen(load_raw<vf>(p)); }

inline vf load(const f16* p) { return vf(vcvt_f32_f16(load_raw<float16x4_t>(p))); }
inline void store(f16* p, vf v) { store_raw(p, vcvt_f16_f32(float32x4_t(v))); }

}  // namespace
}  // namespace lrn

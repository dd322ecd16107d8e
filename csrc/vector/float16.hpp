// float16 <-> float by whole numbers, for instruction sets without a conversion of their own.
#pragma once

#include "types.hpp"

namespace lrn {
namespace {

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

}  // namespace
}  // namespace lrn

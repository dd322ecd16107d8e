// The numbers of a power, and the lanes whose D float cannot be trusted with. These are computed
// in double, which holds the square of every number of 32 bits or less and nearly every power of
// such sums. What leaves even that, and coefficients beyond all measure, are left to scalar.cpp.
// Which way a lane goes depends on its own window alone.
#pragma once

#include "power.hpp"
#include "scalar.h"

namespace lrn {
namespace {

// 2^e for whole |e| < 1023.
inline double power_of_two(int e) {
    const std::int64_t bits = std::int64_t(e + 1023) << 52;
    return bits_of<double>(bits);
}

inline bool moderate(double v) {
    v = v < 0 ? -v : v;
    return v == 0 || (v > 0x1p-100 && v < 0x1p100);
}

struct Range {
    double low, high;
};

// Where D^-beta stays a number, or, for derivatives, D^-(beta + 1) times two inputs. Coefficients
// beyond all measure leave nothing inside.
inline Range range_of(const Coefficients& k, bool derivative, double room) {
    const double steepness = k.beta < 0 ? -k.beta : k.beta;
    const double exponent = derivative ? room / (steepness + 1) : steepness > 1 ? 1000 / steepness : 1000;
    if (!moderate(k.scale) || !moderate(k.bias) || exponent < 1) return {__builtin_inf(), -__builtin_inf()};
    return {power_of_two(-int(exponent)), power_of_two(int(exponent))};
}

// What a tile's elements of 32 bits or less share.
struct Numbers {
    Numbers(const Coefficients& k, Power power, bool derivative)
        : k(k), scale(float(k.scale)), bias(float(k.bias)), limit(float_limit(power, k.beta)), lowest(bits_of<float>(0x7f000000 - bits_of<std::uint32_t>(limit))),
          exponent(k.beta), wide(range_of(k, derivative, 700)) {
        at_zero = k.beta > 0 ? __builtin_inf() : k.beta < 0 ? 0 : 1;
        at_infinity = k.beta > 0 ? 0 : k.beta < 0 ? __builtin_inf() : 1;
    }
    const Coefficients k;
    const float scale, bias, limit, lowest;  // float is trusted with D from lowest, 1 / limit, to limit
    const FloatExponent exponent;
    const Range wide;
    double at_zero, at_infinity;  // D^-beta

    // Every lane is 0 or all ones.
    auto trusted(vf d) const { return (d >= lowest) & (d <= limit); }

    // Lanes for scalar.cpp. A negative D has a power only where beta is whole.
    unsigned beyond(Doubles d) const { return beyond(d.low) | beyond(d.high) << double_lanes; }
    unsigned beyond(vd d) const {
        return outside(((d == 0) | (d == all(__builtin_inf()))) ? all(1.0) : d, all(wide.low), all(wide.high));
    }
};

// D^-beta of any D >= 0, within 2^-23 or, with long logarithms, 2^-32; nan gives nan.
template <Power power>
inline Doubles wide_power(Doubles d, const Numbers& numbers) {
    Doubles p;
    if constexpr (power == Power::one || power == Power::two || power == Power::three)
        p = {chain<power>(d.low), chain<power>(d.high)};
    else if constexpr (is_chain(power)) p = scaled_chain<power>(d, numbers.k.beta);
    else p = {power_single(d.low, numbers.k.beta), power_single(d.high, numbers.k.beta)};
    const auto special = [&](vd v, vd of) {
        of = v == 0 ? all(numbers.at_zero) : of;
        return v == all(__builtin_inf()) ? all(numbers.at_infinity) : of;
    };
    return {special(d.low, p.low), special(d.high, p.high)};
}

// Who computes an element beyond all vector code, and which: element p of channel c.
struct ScalarResult {
    double (*result)(const void* kernel, i64 c, i64 p);
    const void* kernel;
    i64 c, p;
};

// y, with the lanes whose D (in float: `rounded`) is not trusted computed from D in double.
// `scalar` is asked for what is left of the vector that begins at its p.
template <Power power>
[[gnu::noinline]] vf careful_forward(vf y, vf own, vf rounded, Doubles d, const Numbers& numbers, const ScalarResult& scalar) {
    const Doubles float_d = widen(rounded);
    const vd low = all(double(numbers.lowest)), high = all(double(numbers.limit));
    // Windows of zeros with bias 0 come in whole arrays.
    const unsigned others = outside(d.low == 0 ? all(1.0) : float_d.low, low, high) |
                            outside(d.high == 0 ? all(1.0) : float_d.high, low, high);
    if (!others && numbers.wide.low < 1) {
        y = rounded == 0 ? own * float(numbers.at_zero) : y;
        return y + (rounded - rounded);  // nan stays nan
    }
    const Doubles x = widen(own), p = wide_power<power>(d, numbers);
    y = numbers.trusted(rounded) ? y : narrow(Doubles{x.low * p.low, x.high * p.high});
    if (unsigned lanes = numbers.beyond(d)) {
        float lane[float_lanes];
        store(lane, y);
        for (; lanes; lanes &= lanes - 1) {
            const int l = __builtin_ctz(lanes);
            lane[l] = float(scalar.result(scalar.kernel, scalar.c, scalar.p + l));
        }
        y = load(lane);
    }
    return y;
}

// The same of D^-beta and 1 / D. The lanes for scalar.cpp come back.
template <Power power>
[[gnu::noinline]] unsigned careful_powers(Doubles& p, Doubles& inverse, vf rounded, Doubles d, const Numbers& numbers) {
    const Doubles float_d = widen(rounded), better = wide_power<power>(d, numbers);
    const vd low = all(double(numbers.lowest)), high = all(double(numbers.limit));
    const auto keep_low = (float_d.low >= low) & (float_d.low <= high), keep_high = (float_d.high >= low) & (float_d.high <= high);
    p = {keep_low ? p.low : better.low, keep_high ? p.high : better.high};
    inverse = {keep_low ? inverse.low : all(1.0) / d.low, keep_high ? inverse.high : all(1.0) / d.high};
    return numbers.beyond(d);
}

}  // namespace
}  // namespace lrn

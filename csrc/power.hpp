// D^-beta. Short chains for beta = 1/4, 1/2, 3/4, 1, 5/4, 3/2, 7/4, 2, 3; log2 and exp2 for the
// rest. The coefficients come from power_coefficients.py.
//
// None of these looks at the range of D: the caller finds the elements outside `Range` and
// computes them in scalar.cpp.
#pragma once

#include "tile.h"
#include "vector.hpp"

namespace lrn {
namespace {

// ---- short chains in float -------------------------------------------------------------------

// A first estimate y0 and the residual e = 1 - y0^n D^m give D^(-m/n) to the third order in e,
// which is enough for float from the 11 digits of the weakest estimate. Of a result of fewer
// digits the estimate, in which two errors come together, or the second order is enough.
template <int digits>
inline vf improve(vf y0, vf e, float first, float second) {
    if constexpr (digits + 5 < estimate_digits) return y0;
    if constexpr (digits + 5 < 2 * (estimate_digits - 2)) return fma(y0 * e, all(first), y0);
    return fma(y0 * e, fma(e, all(second), all(first)), y0);
}

inline vf reciprocal(vf d) {
    const vf r = reciprocal_estimate(d), e = fnma(d, r, all(1.f));
    return fma(r, fma(e, e, e), r);
}

// The same to the fourth order, for powers whose estimate is itself a power of one.
template <int digits>
inline vf improve(vf y0, vf e, float first, float second, float third) {
    if constexpr (digits < 24) return improve<digits>(y0, e, first, second);
    return fma(y0 * e, fma(e, fma(e, all(third), all(second)), all(first)), y0);
}

// Float powers keep what they compute with within float for D up to here, and from its inverse on.
inline float float_limit(Power power, double beta) {
    switch (power) {
        case Power::quarter: case Power::half: case Power::three_quarter: case Power::one: return 0x1p100f;
        case Power::five_quarter: case Power::three_half: case Power::seven_quarter: case Power::two: return 0x1p50f;
        case Power::three: return 0x1p33f;
        default: break;
    }
    // Exponents that exp2 can still write down: |beta log2 D| below 120.
    const double steepness = beta < 0 ? -beta : beta;
    return steepness <= 1.2 ? 0x1p100f : steepness <= 2 ? 0x1p60f : 0x1p40f;
}

template <Power power, int digits = 24>
inline vf chain(vf d) {
    if constexpr (power == Power::one) {
        return all(1.f) / d;
    } else if constexpr (power == Power::two) {
        return reciprocal(d * d);
    } else if constexpr (power == Power::three) {
        return reciprocal(d * d * d);
    } else {
        const vf r = rsqrt_estimate(d);
        if constexpr (power == Power::half) {
            return improve<digits>(r, fnma(d * r, r, all(1.f)), 1 / 2.f, 3 / 8.f);
        } else if constexpr (power == Power::three_half) {
            const vf y = r * r * r, b = y * d;
            return improve<digits>(y, fnma(b * d, b, all(1.f)), 1 / 2.f, 3 / 8.f);
        } else {
            const vf q = rsqrt_estimate(r);
            if constexpr (power == Power::quarter) {
                const vf y = r * q, a = y * y;
                return improve<digits>(y, fnma(a * d, a, all(1.f)), 1 / 4.f, 5 / 32.f);
            } else if constexpr (power == Power::three_quarter) {
                const vf y = r * r * q;
                const vf b = y * (y * d);  // in this order: y * y may leave the range
                return improve<digits>(y, fnma(b * d, b, all(1.f)), 1 / 4.f, 5 / 32.f);
            } else if constexpr (power == Power::five_quarter) {
                const vf y = r * r * (r * q), a = y * d, b = a * a;
                return improve<digits>(y, fnma(b * d, b, all(1.f)), 1 / 4.f, 5 / 32.f, 15 / 128.f);
            } else {
                const vf s = r * r, y = s * s * q, a = y * d, b = a * (a * d);
                return improve<digits>(y, fnma(b * d, b, all(1.f)), 1 / 4.f, 5 / 32.f, 15 / 128.f);
            }
        }
    }
}

// ---- short chains in double ------------------------------------------------------------------

template <Power power>
inline vd chain(vd d) {
    if constexpr (power == Power::one) {
        return all(1.0) / d;
    } else if constexpr (power == Power::two) {
        return all(1.0) / (d * d);
    } else if constexpr (power == Power::three) {
        return all(1.0) / (d * d * d);
    } else {
        const vd r = root(d);
        if constexpr (power == Power::half) return all(1.0) / r;
        if constexpr (power == Power::quarter) return all(1.0) / root(r);
        if constexpr (power == Power::three_half) return all(1.0) / (d * r);
        if constexpr (power == Power::five_quarter) return all(1.0) / (d * root(r));
        if constexpr (power == Power::seven_quarter) return all(1.0) / (d * (r * root(r)));
        // Four roundings in a row are one too many for 4.5 ulp in all: correct them together.
        const vd y = all(1.0) / (r * root(r)), b = y * (y * d);
        return fma(y * 0.25, fnma(b * d, b, all(1.0)), y);
    }
}

// ---- log2 and exp2 ---------------------------------------------------------------------------

template <int count, class V>
inline V polynomial(const double (&c)[count], V x) {
    using T = decltype(x[0] + 0);
    V sum = all(T(c[count - 1]));
    for (int i = count - 2; i >= 0; --i) sum = fma(sum, x, all(T(c[i])));
    return sum;
}

// The same with half the waiting: terms of even and of odd degree side by side.
template <int count>
inline vd polynomial_in_two(const double (&c)[count], vd x) {
    constexpr int last = count - 1;
    const vd square = x * x;
    vd a = all(c[last]), b = all(c[last - 1]);
    for (int i = last - 2; i >= 0; i -= 2) {
        a = fma(a, square, all(c[i]));
        if (i > 0) b = fma(b, square, all(c[i - 1]));
    }
    return count % 2 ? fma(b, x, a) : fma(a, x, b);
}

struct Pair {  // the unevaluated sum of two doubles
    vd high, low;
};

inline Pair two_sum(vd a, vd b) {
    const vd s = a + b, t = s - a;
    return {s, (a - (s - t)) + (b - t)};
}
inline Pair fast_two_sum(vd a, vd b) {  // |a| >= |b|, or a = 0
    const vd s = a + b;
    return {s, b - (s - a)};
}
inline Pair two_product(vd a, vd b) {
    const vd p = a * b;
    if constexpr (has_fma) return {p, fma(a, b, -p)};
    const vd sa = a * 134217729.0, sb = b * 134217729.0;  // 2^27 + 1: Veltkamp's splitting
    const vd ah = sa - (sa - a), bh = sb - (sb - b), al = a - ah, bl = b - bh;
    return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

struct Binary {  // m * 2^e with m in [sqrt(1/2), sqrt(2))
    vd m, e;
};

inline Binary split(vd d) {
    constexpr std::uint64_t one = 0x3ff0000000000000, root_half = 0x3fe6a09e667f3bcd;
    const vul bits = bits_of<vul>(d) + (one - root_half);
    // The exponent, 0 .. 2047, as a double: the low bits of 2^52 + exponent.
    const vul biased = (bits >> 52) | 0x4330000000000000;
    const vd e = bits_of<vd>(biased) - (0x1p52 + 1023);
    return {bits_of<vd>((bits & 0x000fffffffffffff) + root_half), e};
}

// t * 2^n for whole n with |n| < 1023 and a product that stays normal.
inline vd scale_by_power_of_two(vd t, vd n) {
    const vul shifted = bits_of<vul>(n + (0x1.8p52 + 1023)) << 52;
    return t * bits_of<vd>(shifted);
}

// Chains of roots over all of double's range, to the digits of float: powers of 16 are split off.
template <Power power>
inline Doubles scaled_chain(Doubles d, double beta) {
    constexpr std::uint64_t one = 1023ull << 52;
    const auto exponent_of = [](vd v) { return (((bits_of<vul>(v) >> 52) + 1) & ~std::uint64_t(3)) - 1; };
    const auto mantissa = [](vd v, vul exponent) { return bits_of<vd>(bits_of<vul>(v) - (exponent << 52) + one); };
    const vul low = exponent_of(d.low), high = exponent_of(d.high);
    const Doubles p = widen(chain<power>(narrow(Doubles{mantissa(d.low, low), mantissa(d.high, high)})));
    const auto whole = [](vul exponent) { return bits_of<vd>(exponent | 0x4330000000000000) - (0x1p52 + 1023); };
    return {scale_by_power_of_two(p.low, whole(low) * -beta) + (d.low - d.low),
            scale_by_power_of_two(p.high, whole(high) * -beta) + (d.high - d.high)};
}

inline vd nearest_whole(vd t) { return (t + 0x1.8p52) - 0x1.8p52; }

constexpr double log2_float[] = {-0x1.7154752f76b3ep-1, 0x1.ec709a907a0b0p-2, -0x1.71576ab371f2cp-2,
                                 0x1.277b703c02920p-2,  -0x1.eb41e6ed86ce2p-3, 0x1.a3b3c86b4360fp-3,
                                 -0x1.83df3747f3286p-3, 0x1.77e8bb558c555p-3,  -0x1.c574f5e6c9fd7p-4};
constexpr double exp2_float[] = {0x1.62e4302fc626ep-1,  0x1.ebfbe00e63baep-3,  0x1.c6af6cdbbdcc7p-5,
                                 0x1.3b2a53045179ap-7,  0x1.5f0890162a90ap-10, 0x1.4413896e1ad27p-13};
constexpr double log2_single[] = {
    0x1.71547652a44dbp+0,  -0x1.715476572cc31p-1, 0x1.ec709ea6a0c5ep-2,  -0x1.71546f4871651p-2,
    0x1.277658c21e745p-2,  -0x1.ec7352cb89bf3p-3, 0x1.a63df11f4d312p-3,  -0x1.7131ef80d3e2cp-3,
    0x1.453051c8c9c33p-3,  -0x1.25de4aa3aaf85p-3, 0x1.28dbd2cf0a272p-3,  -0x1.21af6d5ddd93cp-3,
    0x1.35673bb33fc05p-4};
constexpr double exp2_single[] = {0x1.62e42fefa39efp-1,  0x1.ebfbe045f4d3cp-3,
                                  0x1.c6b08d883dca1p-5,  0x1.3b2a1b7152befp-7,
                                  0x1.5d879ead06a82p-10, 0x1.443fffc90db59p-13,
                                  0x1.00a581594758ep-16};
constexpr double log2_double[] = {
    0x1.ec709dc3a03fdp-1, 0x1.2776c50ef9bfdp-1, 0x1.a61762a7ae5c3p-2, 0x1.484b13d729cdep-2, 0x1.0c9a84ff8d6efp-2, 0x1.c68f08784ebcbp-3, 0x1.8a05275dbf5c8p-3, 0x1.595700d57d751p-3, 0x1.5f16bb4e33079p-3};
constexpr double exp2_double[] = {
    0x1.62e42fefa39efp-1, 0x1.ebfbdff82c58fp-3, 0x1.c6b08d704a0c6p-5, 0x1.3b2ab6fba4e79p-7, 0x1.5d87fe78a3f9cp-10, 0x1.430912f86b7dbp-13, 0x1.ffcbfc6da6ed1p-17, 0x1.62c02242b879cp-20, 0x1.b524ebd13a55fp-24, 0x1.e4cf10dec0f59p-28, 0x1.e9ec1fcb69a7fp-32, 0x1.c4a29324a1038p-36};

// -beta in two floats, the first short enough for an exact product with any exponent.
struct FloatExponent {
    explicit FloatExponent(double beta) {
        const std::uint64_t bits = bits_of<std::uint64_t>(-beta) & ~((std::uint64_t(1) << 37) - 1);
        short_part = float(bits_of<double>(bits));
        rest = float(-beta - double(short_part));
        whole = float(-beta);
    }
    float short_part, rest, whole;
};

// In float throughout, within 2 ulp for |beta| <= 1, 3 for |beta| <= 3, and D within float_limit.
// Each sum is kept in two parts until what is large has cancelled. A nan is lost on the way.
template <bool steep>
inline vf power_float(vf d, const FloatExponent& exponent) {
    constexpr float c_high = 0x1.715476p+0f, c_low = 0x1.4ae0cp-26f;  // 1 / ln 2
    constexpr std::uint32_t one = 0x3f800000, root_half = 0x3f3504f3;
    const vu bits = bits_of<vu>(d) + (one - root_half);
    const vf e = __builtin_convertvector(vi(bits >> 23), vf) - 127.f;
    const vf f = bits_of<vf>((bits & 0x007fffff) + root_half) - 1.f;
    const vf l = f * c_high;
    vf l_rest = fma(f * f, polynomial(log2_float, f), f * c_low);
    if constexpr (has_fma) l_rest += fma(f, all(c_high), -l);
    // t = -beta (e + l + l_rest) = n + r
    const vf b = all(exponent.whole);
    // Above 1 the rest, too, decides on n, or r would leave the range of exp2's polynomial.
    const vf n = (fma(b, steep ? e + (l + l_rest) : e + l, all(0x1.8p23f))) - 0x1.8p23f;
    const vf small = fma(e, all(exponent.rest), b * l_rest);
    const vf r = fma(b, l, e * exponent.short_part - n) + small;
    const vf p = fma(polynomial(exp2_float, r), r, all(1.f));
    const vu shift = bits_of<vu>(n + (0x1.8p23f + 127)) << 23;
    return p * bits_of<vf>(shift);
}

// Taking numbers apart loses nan; adding d - d, which is 0 for any number, puts it back.

// For results that are rounded to float or less: relative error below 2^-32 for |beta| <= 8.
inline vd log2_of_single(vd d) {
    const Binary b = split(d);
    const vd f = b.m - 1.0;
    return fma(polynomial_in_two(log2_single, f), f, b.e);
}
inline vd exp2_of_single(vd t) {
    const vd n = nearest_whole(t), r = t - n;
    return scale_by_power_of_two(fma(polynomial_in_two(exp2_single, r), r, all(1.0)), n);
}
inline vd power_single(vd d, double beta) { return exp2_of_single(log2_of_single(d) * -beta) + (d - d); }

// log2(d) as a pair, relative error about 2^-60: log2(m) = (2 / ln 2) s + s^3 (...) with
// s = (m - 1) / (m + 1).
inline Pair log2_double_pair(vd d) {
    constexpr double c_high = 0x1.71547652b82fep+1, c_low = 0x1.777d0ffda0d24p-55;
    const Binary b = split(d);
    const vd above = b.m - 1.0;
    const Pair below = two_sum(b.m, all(1.0));
    const vd s = above / below.high;
    const Pair back = two_product(s, below.high);
    const vd s_low = ((above - back.high) - back.low - s * below.low) / below.high;
    const vd z = s * s;
    const Pair first = two_product(s, all(c_high));
    const vd rest = fma(s * z, polynomial(log2_double, z), fma(s, all(c_low), s_low * c_high));
    const Pair whole = two_sum(b.e, first.high);
    return fast_two_sum(whole.high, whole.low + (first.low + rest));
}

// For float64: about one ulp for |beta log2 d| < 1000.
inline vd power_double(Pair d, double beta) {
    constexpr double per_ln2 = 0x1.71547652b82fep+0;
    const Pair log = log2_double_pair(d.high);
    const vd log_low = fma(d.low / d.high, all(per_ln2), log.low);
    const Pair product = two_product(log.high, all(-beta));
    const vd n = nearest_whole(product.high);
    const vd r = (product.high - n) + fma(log_low, all(-beta), product.low);
    return scale_by_power_of_two(fma(polynomial(exp2_double, r), r, all(1.0)), n) +
           (d.high - d.high);
}

inline vd log2_of(vd d) {
    const Pair log = log2_double_pair(d);
    return log.high + log.low;
}

}  // namespace
}  // namespace lrn

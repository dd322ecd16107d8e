// Elements of every type as bits, the formula in long double, and errors in units in the last place.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "../../csrc/lrn.h"

namespace numbers {

using lrn::Type;
using Real = long double;
static_assert(LDBL_MANT_DIG >= 64 && LDBL_MAX_EXP > 4096, "the reference needs a long double that is more than a double");

struct Format {
    const char* name;
    int digits, smallest;  // significant bits; exponent of the smallest subnormal
    double largest, tiny;  // tiny: the smallest normal number
};
constexpr Format formats[] = {
    {"float32", 24, -149, 0x1.fffffep127, 0x1p-126},
    {"float64", 53, -1074, 0x1.fffffffffffffp1023, 0x1p-1022},
    {"float16", 11, -24, 65504, 0x1p-14},
    {"bfloat16", 8, -133, 0x1.fep127, 0x1p-126},
};
inline const Format& format_of(Type type) { return formats[int(type)]; }

// The distance between neighbours of v in a type.
inline Real spacing(Real v, const Format& format) {
    int exponent = 0;
    std::frexp(v < 0 ? -v : v, &exponent);
    return std::ldexp(Real(1), v == 0 ? format.smallest : std::max(exponent - format.digits, format.smallest));
}

inline double rounded(double v, const Format& format) {
    if (v == 0 || !std::isfinite(v)) return v;
    const double unit = double(spacing(v, format));
    const double result = std::nearbyint(v / unit) * unit;
    return std::fabs(result) > format.largest ? std::copysign(HUGE_VAL, v) : result;
}

// Writes a number that the type holds exactly, or infinity or nan.
inline void write(Type type, void* to, double v) {
    const float f = float(v);
    std::uint32_t bits;
    std::memcpy(&bits, &f, 4);
    std::uint16_t half = std::uint16_t(bits >> 16);
    if (type == Type::f16) {
        const std::uint16_t sign = half & 0x8000;
        const double magnitude = std::fabs(v);
        if (v != v) half = 0x7e00;
        else if (magnitude > 65504) half = sign | 0x7c00;
        else if (magnitude < 0x1p-14) half = sign | std::uint16_t(magnitude * 0x1p24);
        else half = sign | std::uint16_t(((bits & 0x7fffffff) >> 13) - (112 << 10));
    }
    if (type == Type::f64) std::memcpy(to, &v, 8);
    else if (type == Type::f32) std::memcpy(to, &f, 4);
    else std::memcpy(to, &half, 2);
}

inline double read(Type type, const void* from) {
    double d;
    float f;
    std::uint16_t half;
    if (type == Type::f64) return std::memcpy(&d, from, 8), d;
    if (type == Type::f32) return std::memcpy(&f, from, 4), double(f);
    std::memcpy(&half, from, 2);
    if (type == Type::bf16) {
        const std::uint32_t bits = std::uint32_t(half) << 16;
        return std::memcpy(&f, &bits, 4), double(f);
    }
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) d = mantissa ? NAN : HUGE_VAL;
    else d = exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
    return half & 0x8000 ? -d : d;
}

// d^-beta; by square roots where that is exact enough, as pow is very slow in emulated arithmetic.
inline Real power_of(Real d, double beta) {
    if (beta * 4 != std::floor(beta * 4) || beta < 0 || !(d > 0)) return std::pow(d, -Real(beta));
    const Real root = std::sqrt(std::sqrt(d));
    Real product = 1;
    for (int i = 0; i < int(beta * 4); ++i) product *= root;
    return 1 / product;
}

struct Expected {  // of one column of channels, with the sizes of the terms that errors are measured by
    std::vector<Real> y, dx, dx_size, dy, dy_size;
    Real by[3] = {}, by_size[3] = {};  // scale, beta, bias
};

inline Expected formula(const std::vector<double>& x, const std::vector<double>& g, const lrn::Coefficients& k,
                        bool parameters) {
    const std::int64_t n = std::int64_t(x.size());
    const auto first = [&](std::int64_t c, std::int64_t reach) { return std::max<std::int64_t>(0, c - std::min(reach, n)); };
    const auto last = [&](std::int64_t c, std::int64_t reach) { return std::min(n - 1, c + std::min(reach, n)); };
    Expected e;
    std::vector<Real> power(x.size()), through(x.size());
    const Real scale = k.scale, beta = k.beta, factor = 2 * scale * beta;
    for (std::int64_t c = 0; c < n; ++c) {
        Real squares = 0, products = 0, product_sizes = 0;
        for (std::int64_t j = first(c, k.before); j <= last(c, k.after); ++j) {
            squares += Real(x[j]) * x[j];
            products += Real(x[j]) * g[j];
            product_sizes += std::fabs(Real(x[j]) * g[j]);
        }
        const Real d = Real(k.bias) + scale * squares;
        power[c] = power_of(d, k.beta);
        through[c] = Real(g[c]) * x[c] * power[c] / d;
        e.y.push_back(Real(x[c]) * power[c]);
        const Real slope = factor * x[c] * power[c] / d;
        e.dy.push_back(g[c] * power[c] - slope * products);
        e.dy_size.push_back(std::fabs(g[c] * power[c]) + std::fabs(slope) * product_sizes);
        if (!parameters) continue;
        const Real by[3] = {-beta * through[c] * squares, -Real(g[c]) * x[c] * power[c] * std::log(d), -beta * through[c]};
        for (int i = 0; i < 3; ++i) {
            e.by[i] += by[i];
            e.by_size[i] += std::fabs(by[i]);
        }
    }
    for (std::int64_t c = 0; c < n; ++c) {
        Real sum = 0, sizes = 0;
        for (std::int64_t m = first(c, k.after); m <= last(c, k.before); ++m) {
            sum += through[m];
            sizes += std::fabs(through[m]);
        }
        e.dx.push_back(g[c] * power[c] - factor * x[c] * sum);
        e.dx_size.push_back(std::fabs(g[c] * power[c]) + std::fabs(factor * x[c]) * sizes);
    }
    return e;
}

// The error of a result, in units of the last place of `size`.
inline Real units(double result, Real expected, Real size, const Format& format) {
    if (expected != expected) return result != result ? 0 : HUGE_VALL;
    if (std::isinf(result)) {  // right beyond the largest number, and one step before
        const Real limit = Real(format.largest) - 4 * spacing(format.largest, format);
        return (result > 0 ? expected : -expected) >= limit ? 0 : HUGE_VALL;
    }
    if (result != result) return HUGE_VALL;
    return std::fabs(Real(result) - expected) / spacing(size, format);
}

}  // namespace numbers

#include "real.h"

#include <cmath>
#include <limits>
#include <utility>

namespace lrn::scalar {

#if defined(LRN_LONG_DOUBLE)

// Windows of zeros with bias 0 come in whole arrays; std::pow is slow to say infinity.
Real power(Real d, Real beta) {
    if (d == 0 && beta > 0) return std::numeric_limits<Real>::infinity();
    return std::pow(d, -beta);
}

Real log(Real d) { return std::log(d); }

#else

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t out_of_sight = 110;  // a shift that leaves nothing of two doubles

bool is_whole(double v) { return v == std::nearbyint(v); }
bool is_odd(double v) { return is_whole(v) && !is_whole(v / 2); }

}  // namespace

Real Real::of(double high, double low, std::int64_t exponent) {
    Real r;
    const double sum = high + low;
    r.high = sum;
    r.low = 0;
    r.exponent = 0;
    if (sum == 0 || !std::isfinite(sum)) return r;
    int shift;
    r.high = 2 * std::frexp(sum, &shift);
    r.low = std::ldexp(low - (sum - high), 1 - shift);
    r.exponent = exponent + shift - 1;
    return r;
}

Real::Real(double v) { *this = of(v, 0, 0); }

Real::operator double() const {
    if (high == 0 || !std::isfinite(high)) return high;
    // Beyond these the result is infinity or zero, whatever the digits.
    const std::int64_t limit = 5000;
    const std::int64_t e = exponent > limit ? limit : exponent < -limit ? -limit : exponent;
    return std::ldexp(high, int(e));
}

Real operator-(Real a) {
    a.high = -a.high;
    a.low = -a.low;
    return a;
}

Real operator+(Real a, Real b) {
    if (!std::isfinite(a.high) || !std::isfinite(b.high) || (a.high == 0 && b.high == 0))
        return Real(a.high + b.high);
    if (a.high == 0) return b;
    if (b.high == 0) return a;
    if (a.exponent < b.exponent) std::swap(a, b);
    const std::int64_t shift = a.exponent - b.exponent;
    if (shift > out_of_sight) return a;
    const double high = std::ldexp(b.high, -int(shift)), low = std::ldexp(b.low, -int(shift));
    const double sum = a.high + high, part = sum - a.high;
    const double rest = (a.high - (sum - part)) + (high - part);
    return Real::of(sum, rest + (a.low + low), a.exponent);
}

Real operator-(Real a, Real b) { return a + -b; }

Real operator*(Real a, Real b) {
    const double product = a.high * b.high;
    if (product == 0 || !std::isfinite(product)) return Real(product);
    const double rest = std::fma(a.high, b.high, -product);
    return Real::of(product, rest + (a.high * b.low + a.low * b.high), a.exponent + b.exponent);
}

Real operator/(Real a, Real b) {
    const double quotient = a.high / b.high;
    if (quotient == 0 || !std::isfinite(quotient)) return Real(quotient);
    const double rest = std::fma(-quotient, b.high, a.high) + (a.low - quotient * b.low);
    return Real::of(quotient, rest / b.high, a.exponent - b.exponent);
}

Real& Real::operator+=(Real b) { return *this = *this + b; }
Real& Real::operator-=(Real b) { return *this = *this - b; }
Real& Real::operator*=(Real b) { return *this = *this * b; }

bool operator==(Real a, Real b) { return a.high == b.high && a.low == b.low && a.exponent == b.exponent; }
bool operator!=(Real a, Real b) { return !(a == b); }
bool operator<(Real a, Real b) {
    const bool both_finite = std::isfinite(a.high) && std::isfinite(b.high);
    return both_finite ? (a - b).high < 0 : a.high < b.high;
}
bool operator>(Real a, Real b) { return b < a; }

// log2 d for finite d > 0, relative error below 2^-90: with d = m 2^e and s = (m - 1) / (m + 1),
// ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...), where s^2 < 0.03.
Real Real::log2(Real d) {
    Real whole = double(d.exponent);
    d.exponent = 0;
    if (d.high > 1.4142135623730951) {
        d.exponent = -1;
        whole += 1.0;
    }
    const Real s = (d - 1.0) / (d + 1.0), z = s * s;
    Real sum = 0.0;
    for (int k = 20; k >= 0; --k) sum = sum * z + Real(1.0) / Real(2.0 * k + 1);
    const Real two_per_ln2 = of(0x1.71547652b82fep+1, 0x1.777d0ffda0d24p-55, 0);
    return whole + s * sum * two_per_ln2;
}

Real log(Real d) {
    if (!(d.high > 0) || !std::isfinite(d.high)) return std::log(d.high);
    return Real::log2(d) * Real::of(0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56, 0);
}

// exp2 of t = n + r by the series of e^(r ln 2), |r ln 2| < 0.35.
Real power(Real d, Real beta) {
    const double exponent = -double(beta);
    if (d.high == 0 || !std::isfinite(d.high) || exponent == 0) return std::pow(d.high, exponent);
    const bool negative = d.high < 0;
    if (negative && !is_whole(exponent)) return std::numeric_limits<double>::quiet_NaN();
    const Real t = Real::log2(negative ? -d : d) * Real(exponent);
    const double sign = negative && is_odd(exponent) ? -1 : 1, size = double(t);
    if (!(std::fabs(size) < 1e15)) return size > 0 ? sign * infinity : size < 0 ? sign * 0.0 : size;
    const double n = std::nearbyint(size);
    const Real r = (t - n) * Real::of(0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56, 0);
    Real sum = 1.0;
    for (int k = 22; k >= 1; --k) sum = Real(1.0) + sum * r / double(k);
    sum.exponent += std::int64_t(n);
    return sign < 0 ? -sum : sum;
}

#endif

}  // namespace lrn::scalar

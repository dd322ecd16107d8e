// The numbers of the scalar code: more digits than a double, and a range that holds the square and
// the power of every double. x86 has them in hardware, as long double. Elsewhere long double is
// computed in software (Arm under Linux) or is a double (Windows, macOS on Arm): there a number is
// the sum of two doubles, 106 bits, and an exponent of its own.
#pragma once

#include <cstdint>

#include "platform.h"

namespace lrn::scalar {

#if defined(LRN_LONG_DOUBLE)

using Real = long double;

#else

// Everything is defined in real.cpp, and nothing inline: kernels of several instruction sets use it.
class Real {
public:
    Real() = default;
    Real(double v);
    explicit operator double() const;
    Real& operator+=(Real b);
    Real& operator-=(Real b);
    Real& operator*=(Real b);
    friend Real operator+(Real a, Real b);
    friend Real operator-(Real a, Real b);
    friend Real operator*(Real a, Real b);
    friend Real operator/(Real a, Real b);
    friend Real operator-(Real a);
    friend bool operator==(Real a, Real b);
    friend bool operator!=(Real a, Real b);
    friend bool operator<(Real a, Real b);
    friend bool operator>(Real a, Real b);
    friend Real log(Real d);
    friend Real power(Real d, Real beta);

private:
    static Real of(double high, double low, std::int64_t exponent);
    static Real log2(Real d);

    // (high + low) * 2^exponent with 1 <= |high| < 2; zero, infinity and nan stand in high alone.
    double high, low;
    std::int64_t exponent;
};

#endif

// d^-beta and ln d, by IEEE's rules where d is 0, infinite, nan or negative.
Real power(Real d, Real beta);
Real log(Real d);

}  // namespace lrn::scalar

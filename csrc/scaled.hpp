// float64 outputs whose squares leave the range of a double: the window is scaled by a power of
// two of its own, and the exponent joined again at the end.
#pragma once

#include "energy.hpp"

namespace lrn {
namespace {

class ScaledForward {
public:
    explicit ScaledForward(const Coefficients& k) : k(k) {
        const double bias = k.bias < 0 ? -k.bias : k.bias;
        floor = __builtin_sqrt(bias);
        usable = moderate(k.scale) && moderate(k.bias) && k.scale > 0 && k.bias >= 0 && k.beta >= 0 && k.beta <= 4;
        at_zero = k.beta > 0 ? __builtin_inf() : 1;
    }

    // x D^-beta of one vector, from the rows of its window. Nan: for scalar.cpp, or so by the formula.
    template <class RowAt>
    vd operator()(vd own, i64 first, i64 last, RowAt row_at) const {
        if (!usable) return all(__builtin_nan(""));
        vd largest = all(floor);
        for (i64 j = first; j <= last; ++j) {
            const vd x = row_at(j), magnitude = x < 0 ? -x : x;
            largest = magnitude > largest ? magnitude : largest;
        }
        // 2^-e for the largest number's exponent e, of those whose inverse is a normal number, too.
        vul biased = bits_of<vul>(largest) >> 52;
        biased = biased < 23 ? vul{} + 23 : biased > 2045 ? vul{} + 2045 : biased;
        const vd factor = bits_of<vd>((2046 - biased) << 52);
        Double sum = Double::zero();
        for (i64 j = first; j <= last; ++j) {
            const vd x = row_at(j) * factor;
            sum = sum + Double::product(x, x);
        }
        const Pair squares = sum.value(), scaled = two_product(squares.high, all(k.scale));
        const Pair high = two_sum(scaled.high, all(k.bias) * factor * factor);
        const Pair d = fast_two_sum(high.high, high.low + fma(squares.low, all(k.scale), scaled.low));

        const Pair log = log2_double_pair(d.high);
        const vd log_low = fma(d.low / d.high, all(0x1.71547652b82fep+0), log.low);
        const vd e = bits_of<vd>(biased | 0x4330000000000000) - (0x1p52 + 1023);
        const Pair whole = two_sum(e * 2.0, log.high);
        const Pair product = two_product(whole.high, all(-k.beta));
        const vd n = nearest_whole(product.high), half = nearest_whole(n * 0.5);
        const vd r = (product.high - n) + fma(log_low + whole.low, all(-k.beta), product.low);
        const vd p = fma(polynomial(exp2_double, r), r, all(1.0));
        vd y = scale_by_power_of_two(scale_by_power_of_two(own, half) * p, n - half);
        y = ((n < -2000.0) | (n > 2000.0)) ? all(__builtin_nan("")) : y + (d.high - d.high);
        return largest == 0 ? own * at_zero : y;
    }

private:
    const Coefficients& k;
    double floor, at_zero;
    bool usable;
};

}  // namespace
}  // namespace lrn

// From a row of window sums to D = bias + scale * sum and D^-beta, and to the list of elements
// whose D the vector code cannot be trusted with.
#pragma once

#include "power.hpp"
#include "rows.hpp"

namespace lrn {
namespace {

struct Range {
    double low, high;
};

// 2^e for whole |e| < 1023.
inline double power_of_two(int e) {
    const std::int64_t bits = std::int64_t(e + 1023) << 52;
    return bits_of<double>(bits);
}

inline bool moderate(double v) {
    v = v < 0 ? -v : v;
    return v == 0 || (v > 0x1p-100 && v < 0x1p100);
}

// float chains want D and its powers within float; the others leave room for D^-(beta + 1) and
// its product with any input in double. Coefficients beyond all measure leave nothing inside.
inline Range trusted_range(const Coefficients& k, Power power, bool float_chain) {
    if (power == Power::zero) return {-__builtin_inf(), __builtin_inf()};
    if (!moderate(k.scale) || !moderate(k.bias)) return {__builtin_inf(), -__builtin_inf()};
    if (float_chain) return {0x1p-100, 0x1p100};
    const double beta = k.beta < 0 ? -k.beta : k.beta;
    const double exponent = 300 / (beta + 1);
    if (exponent < 1) return {__builtin_inf(), -__builtin_inf()};
    return {power_of_two(-int(exponent)), power_of_two(int(exponent))};
}

// The elements of a row that go another way: at most two entries each.
struct Rare {
    void place(Arena& arena, i64 pixels) { index = arena.take<i64>(2 * pixels); }
    void add(i64 i, unsigned lanes, i64 pixels) {
        for (; lanes; lanes &= lanes - 1) {
            const i64 p = i + __builtin_ctz(lanes);
            if (p < pixels) index[count++] = p;
        }
    }
    i64* index = nullptr;
    i64 count = 0;
};

// float64 inputs whose products with each other and with powers of D could leave the range.
// Zero is harmless. Nothing of 32 bits or less can do that to a double.
template <class S>
inline unsigned unwieldy(vd v) {
    if constexpr (sizeof(S) != 8) return 0;
    const vd magnitude = v < 0 ? -v : v;
    return outside(magnitude == 0 ? all(1.0) : magnitude, all(0x1p-250), all(0x1p250));
}
template <class S>
inline unsigned unwieldy(Doubles v) {
    return unwieldy<S>(v.low) | unwieldy<S>(v.high) << D;
}

// float_chains: the short chains run in float, which is enough where the result is rounded to it.
template <class S, bool float_chains = sizeof(S) != 8>
class Energy {
public:
    static constexpr bool is_double = sizeof(S) == 8;

    explicit Energy(const Tile& tile)
        : k(tile.coefficients),
          power(tile.power),
          pixels(tile.pixels),
          pitch(round_up(tile.pixels, F)),
          range(trusted_range(k, power, float_chains && power != Power::general)) {}

    // row: the sums, replaced by D. rest: what their rounding left over (float64 only).
    // to: D^-beta.
    void apply(double* row, const double* rest, double* to, Rare& rare) const {
        switch (power) {
            case Power::zero: return apply<Power::zero>(row, rest, to, rare);
            case Power::quarter: return apply<Power::quarter>(row, rest, to, rare);
            case Power::half: return apply<Power::half>(row, rest, to, rare);
            case Power::three_quarter: return apply<Power::three_quarter>(row, rest, to, rare);
            case Power::one: return apply<Power::one>(row, rest, to, rare);
            case Power::general: return apply<Power::general>(row, rest, to, rare);
        }
    }

private:
    template <Power fixed>
    void apply(double* row, const double* rest, double* to, Rare& rare) const {
        const vd scale = all(k.scale), bias = all(k.bias);
        const vd low = all(range.low), high = all(range.high);
        rare.count = 0;
        for (i64 i = 0; i < pitch; i += F) {
            const Pair low_half = energy(row + i, rest + i, scale, bias);
            const Pair high_half = energy(row + i + D, rest + i + D, scale, bias);
            const vd a = low_half.high, b = high_half.high;
            store(row + i, a);
            store(row + i + D, b);
            unsigned lanes = outside(a, low, high) | outside(b, low, high) << D;
            if constexpr (is_double) lanes |= nan_lanes(a) | nan_lanes(b) << D;
            if (lanes) rare.add(i, lanes, pixels);
            if constexpr (float_chains && fixed != Power::general) {
                const Doubles p = widen(chain<fixed>(narrow(a, b)));
                store(to + i, p.low);
                store(to + i + D, p.high);
            } else {
                store(to + i, one_vector<fixed>(low_half));
                store(to + i + D, one_vector<fixed>(high_half));
            }
        }
    }

    // D in one double where that is more than enough, else in two: rounding it to float64 costs
    // beta / 2 ulp of the power, which large powers cannot afford.
    static Pair energy(const double* sum, const double* rest, vd scale, vd bias) {
        if constexpr (is_double) {
            const Pair product = two_product(load(sum), scale);
            const Pair d = two_sum(product.high, bias);
            return fast_two_sum(d.high, d.low + fma(load(rest), scale, product.low));
        } else {
            (void)rest;
            return {fma(load(sum), scale, bias), vd{}};
        }
    }

    template <Power fixed>
    vd one_vector(Pair d) const {
        if constexpr (fixed != Power::general) return chain<fixed>(d.high);
        else if constexpr (is_double) return power_double(d, k.beta);
        else return power_single(d.high, k.beta);
    }

    // Error-free additions make nan of inf: the scalar code tells which it was.
    static unsigned nan_lanes(vd v) {
        const vd marked = (v == v) ? vd{} : all(1.0);
        return outside(marked, vd{}, vd{});
    }

    Coefficients k;
    Power power;
    i64 pixels, pitch;
    Range range;
};

}  // namespace
}  // namespace lrn

// From window sums to D = bias + scale * sum and its powers, and to the elements whose D the
// vector code cannot be trusted with.
#pragma once

#include "power.hpp"
#include "rows.hpp"
#include "window.hpp"

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
    if (!moderate(k.scale) || !moderate(k.bias)) return {__builtin_inf(), -__builtin_inf()};
    if (float_chain) return {1.0 / chain_limit(power), chain_limit(power)};
    const double beta = k.beta < 0 ? -k.beta : k.beta;
    const double exponent = 300 / (beta + 1);
    if (exponent < 1) return {__builtin_inf(), -__builtin_inf()};
    return {power_of_two(-int(exponent)), power_of_two(int(exponent))};
}

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
    return unwieldy<S>(v.low) | unwieldy<S>(v.high) << double_lanes;
}

// The elements of a row that go another way, in ascending order.
class Rare {
public:
    void place(Arena& arena, i64 pixels) { index = arena.take<i64>(pixels); }
    void clear() { count = 0; }
    void add(i64 i, unsigned lanes, i64 pixels) {
        for (; lanes; lanes &= lanes - 1) {
            const i64 p = i + __builtin_ctz(lanes);
            if (p < pixels) index[count++] = p;
        }
    }
    const i64* begin() const { return index; }
    const i64* end() const { return index + count; }
    bool any() const { return count > 0; }

private:
    i64* index = nullptr;
    i64 count = 0;
};

struct Powers {
    Doubles d, power;   // D and D^-beta
    Doubles inverse;    // 1 / D
    unsigned rare;      // lanes that are not to be trusted
};

template <class S, Power power>
class Energy {
public:
    static constexpr bool is_double = sizeof(S) == 8;
    static constexpr bool float_chain = power != Power::general && !is_double;

    explicit Energy(const Coefficients& k) : k(k), range(trusted_range(k, power, float_chain)) {}

    // both: whether the upper half holds any pixels. Roots are slow enough to ask.
    Powers operator()(Pairs sums, bool both = true) const {
        const Pair a = energy(sums.low), b = both ? energy(sums.high) : a;
        Powers result;
        result.d = {a.high, b.high};
        result.rare = outside(a.high, all(range.low), all(range.high)) |
                      outside(b.high, all(range.low), all(range.high)) << double_lanes;
        if constexpr (is_double)
            result.rare |= nan_lanes(a.high) | nan_lanes(b.high) << double_lanes;
        if constexpr (float_chain) {
            const vf d = narrow(result.d);
            result.power = widen(chain<power>(d));
            result.inverse = widen(all(1.f) / d);
        } else {
            result.power.low = one_vector(a);
            result.power.high = both ? one_vector(b) : result.power.low;
            result.inverse = {all(1.0) / a.high, all(1.0) / b.high};
        }
        return result;
    }

private:
    // D in one double where that is more than enough, else in two: rounding it to float64 costs
    // beta / 2 ulp of the power, which large powers cannot afford.
    Pair energy(Pair sum) const {
        if constexpr (is_double) {
            const Pair product = two_product(sum.high, all(k.scale));
            const Pair d = two_sum(product.high, all(k.bias));
            return fast_two_sum(d.high, d.low + fma(sum.low, all(k.scale), product.low));
        } else {
            return {fma(sum.high, all(k.scale), all(k.bias)), vd{}};
        }
    }

    vd one_vector(Pair d) const {
        if constexpr (power != Power::general) return chain<power>(d.high);
        else if constexpr (is_double) return power_double(d, k.beta);
        else return power_single(d.high, k.beta);
    }

    // Error-free additions make nan of inf: the scalar code tells which it was.
    static unsigned nan_lanes(vd v) {
        const vd marked = (v == v) ? vd{} : all(1.0);
        return outside(marked, vd{}, vd{});
    }

    const Coefficients& k;
    Range range;
};

// Runs the kernel for the tile's power.
template <template <class, Power> class K, class S>
inline bool run_for_power(const Tile& tile) {
    switch (tile.power) {
        case Power::quarter: return run_in_scratch(K<S, Power::quarter>(tile));
        case Power::half: return run_in_scratch(K<S, Power::half>(tile));
        case Power::three_quarter: return run_in_scratch(K<S, Power::three_quarter>(tile));
        case Power::one: return run_in_scratch(K<S, Power::one>(tile));
        case Power::two: return run_in_scratch(K<S, Power::two>(tile));
        default: return run_in_scratch(K<S, Power::general>(tile));
    }
}

}  // namespace
}  // namespace lrn

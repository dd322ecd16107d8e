// From window sums to D = bias + scale * sum and its powers, and to the elements whose D the
// vector code cannot be trusted with.
#pragma once

#include "careful.hpp"
#include "rows.hpp"
#include "window.hpp"

namespace lrn {
namespace {

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

// Whether the power has kernels of its own here; the others share those of Power::any.
constexpr bool has_own_kernels(Power power) { return is_chain(power) && (!is_steep(power) || power == Power::two); }

// What the elements of a call share.
struct EnergyNumbers {
    // exact_sums: of inputs of 32 bits or less, whether the sums given hold every square.
    EnergyNumbers(const Coefficients& k, Power power, bool is_double, bool exact_sums)
        : k(k), range(range_of(k, true, 300)), numbers(k, power, true), exact_sums(exact_sums),
          plain(is_double || !has_own_kernels(power) || range.low > 1 ? range : Range{numbers.lowest, numbers.limit}) {}

    const Coefficients& k;
    const Range range;
    const Numbers numbers;
    const bool exact_sums;
    const Range plain;  // of D, where the common code is trusted
};

template <class S, Power power>
class Energy : public EnergyNumbers {
public:
    static constexpr bool is_double = sizeof(S) == 8;
    static constexpr bool float_chain = power != Power::any && !is_double;

    explicit Energy(const Coefficients& k) : EnergyNumbers(k, power, is_double, true) {}
    explicit Energy(const EnergyNumbers& numbers) : EnergyNumbers(numbers) {}

    // both: whether the upper half holds any pixels. Roots are slow enough to ask.
    LRN_INLINE Powers operator()(Pairs sums, bool both = true) const {
        Powers result;
        if constexpr (is_double) {
            const Pair a = energy(sums.low), b = both ? energy(sums.high) : a;
            result.d = {a.high, b.high};
            result.power.low = one_vector(a);
            result.power.high = both ? one_vector(b) : result.power.low;
            result.inverse = {all(1.0) / a.high, all(1.0) / b.high};
            result.rare = outside(a.high, all(range.low), all(range.high)) | nan_lanes(a.high) |
                          (outside(b.high, all(range.low), all(range.high)) | nan_lanes(b.high)) << double_lanes;
        } else {
            const Doubles d = {fma(sums.low.high, all(k.scale), all(k.bias)), fma(sums.high.high, all(k.scale), all(k.bias))};
            result.d = d;
            if constexpr (power == Power::any) {
                result.power = wide_power<power>(d, numbers);
                result.inverse = {all(1.0) / d.low, all(1.0) / d.high};
                result.rare = exact_sums ? numbers.beyond(d) : outside_plain(d);
            } else {
                const vf rounded = narrow(d);
                result.power = widen(chain<power>(rounded));
                result.inverse = widen(all(1.f) / rounded);
                result.rare = exact_sums ? 0 : outside_plain(d);
                if (!exact_sums) return result;
                if (beyond(rounded, numbers.lowest, numbers.limit) || numbers.wide.low > 1) [[unlikely]] {
                    Doubles better = result.power, better_inverse = result.inverse;
                    result.rare = careful_powers<power>(better, better_inverse, rounded, d, numbers);
                    result.power = better;
                    result.inverse = better_inverse;
                }
            }
        }
        return result;
    }

private:
    unsigned outside_plain(Doubles d) const {
        return outside(d.low, all(plain.low), all(plain.high)) | outside(d.high, all(plain.low), all(plain.high)) << double_lanes;
    }

    // D in two doubles: rounding it to float64 costs beta / 2 ulp of the power, which large powers
    // cannot afford.
    Pair energy(Pair sum) const {
        const Pair product = two_product(sum.high, all(k.scale));
        const Pair d = two_sum(product.high, all(k.bias));
        return fast_two_sum(d.high, d.low + fma(sum.low, all(k.scale), product.low));
    }

    vd one_vector(Pair d) const {
        if constexpr (power != Power::any) return chain<power>(d.high);
        else return power_double(d, k.beta);
    }

    // Error-free additions make nan of inf: the scalar code tells which it was.
    static unsigned nan_lanes(vd v) {
        const vd marked = (v == v) ? vd{} : all(1.0);
        return outside(marked, vd{}, vd{});
    }
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
        default: return run_in_scratch(K<S, Power::any>(tile));
    }
}

}  // namespace
}  // namespace lrn

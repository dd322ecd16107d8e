// Forward for windows of more than direct_width channels and inputs of 32 bits or less, four
// channels at a time. Of the windows of four neighbours
//
//     left[0] left[1] left[2]  core … core  right[0] right[1] right[2]
//
// all four hold the core, and each some of the ends: window r is left[r…], core, right[…r). The
// core is made of blocks of four channels, whose sums are kept, and the rest, of up to three channels.
// All sums are made by additions only. Those of blocks are doubles. The ends and the rest are summed
// in float, three roundings deep, where the power does not make much of them: with the rounding of D
// that is one less than in narrow.hpp. The strip is summed anew in double where such a D leaves the
// range that float is trusted with.
#pragma once

#include <type_traits>

#include "careful.hpp"
#include "energy.hpp"
#include "window.hpp"

namespace lrn {
namespace {

constexpr i64 ends = group - 1;
static_assert(direct_width >= ends, "the core has at least one row");

// ---- from D to results ---------------------------------------------------------------------------

// D of a strip: in double, or in float from sums in float. A rare row needs both.
struct Energies {
    const double* wide;
    const float* rounded;
};

// y = x D^-beta of n elements. Only a rare row asks whether float can be trusted with D.
template <Power power, bool rare>
inline void power_row(Energies energies, const float* own, const float* ahead, float* to, i64 n, const Numbers& numbers,
                      const ScalarResult& scalar) {
    const float lowest = numbers.lowest, limit = numbers.limit;
    const FloatExponent exponent = numbers.exponent;
    const auto compute = [&](i64 i, vf x) {
        const auto wide = [&] { return Doubles{load(energies.wide + i), load(energies.wide + i + double_lanes)}; };
        vf d, p;
        if constexpr (is_steep(power)) d = narrow(wide());
        else d = load(energies.rounded + i);
        if constexpr (power == Power::two || power == Power::three) {
            const Doubles v = wide(), square = {v.low * v.low, v.high * v.high};
            p = reciprocal(narrow(power == Power::two ? square : Doubles{square.low * v.low, square.high * v.high}));
        } else if constexpr (is_chain(power)) {
            p = chain<power>(d);
        } else {
            p = power_float<true>(d, exponent);
        }
        vf y = x * p;
        if constexpr (rare)
            if (beyond(d, lowest, limit)) [[unlikely]]
                y = careful_forward<power>(y, x, d, wide(), numbers, {scalar.result, scalar.kernel, scalar.c, scalar.p + i});
        return y;
    };
    i64 i = 0;
    for (; i + float_lanes <= n; i += float_lanes) {
        __builtin_prefetch(ahead + i);
        store(to + i, compute(i, load(own + i)));
    }
    if (i < n) store_part(to + i, compute(i, load_part(own + i, n - i)), n - i);
}

using PowerRow = void (*)(Energies, const float*, const float*, float*, i64, const Numbers&, const ScalarResult&);

struct PowerRows {
    PowerRow common, rare;  // common is null where D is summed in double
};

template <Power power>
constexpr PowerRows power_rows = {is_steep(power) ? nullptr : power_row<power, false>, power_row<power, true>};

inline PowerRows power_rows_for(Power power) {
    switch (power) {
        case Power::quarter: return power_rows<Power::quarter>;
        case Power::half: return power_rows<Power::half>;
        case Power::three_quarter: return power_rows<Power::three_quarter>;
        case Power::one: return power_rows<Power::one>;
        case Power::five_quarter: return power_rows<Power::five_quarter>;
        case Power::three_half: return power_rows<Power::three_half>;
        case Power::seven_quarter: return power_rows<Power::seven_quarter>;
        case Power::two: return power_rows<Power::two>;
        case Power::three: return power_rows<Power::three>;
        default: return power_rows<Power::steep>;
    }
}

// ---- sums ------------------------------------------------------------------------------------------

template <class S>
class GroupedForward {
public:
    explicit GroupedForward(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          numbers(k, tile.power, false),
          width(k.before + k.after + 1),
          groups((tile.channels + group - 1) / group),
          blocks((width - ends) / group),
          rest((width - ends) % group),
          pitch(round_up(tile.pixels, float_lanes)),
          x(tile, X, width + ends),
          y(tile),
          cores(groups + blocks - 1, blocks, tile.pixels),
          finish(power_rows_for(tile.power)) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        if (blocks) cores.place(arena);
        zeros = arena.take<float>(pitch);
        energies = arena.take<double>(group * strip);
        nothing = arena.take<double>(strip);
        rounded = arena.take<float>(group * strip);
        result = arena.take<float>(strip);
        column = arena.take<double>(least(width, tile.channels));
    }

    void run() {
        std::memset(zeros, 0, std::size_t(pitch) * sizeof(float));
        std::memset(nothing, 0, strip * sizeof(double));
        i64 fetched = 0, block = 0;
        for (i64 g = 0; g < groups; ++g) {
            const i64 c = g * group;
            for (; fetched < tile.channels && fetched <= c + k.after + ends; ++fetched) x.fetch(fetched);
            for (; blocks && block < g + blocks; ++block) add_block(block);
            for (i64 i = 0; i < tile.pixels; i += strip) finish_group(g, i, least(strip, tile.pixels - i));
            for (i64 r = 0; r < group && c + r < tile.channels; ++r) y.done(c + r);
        }
    }

private:
    struct Ends {
        const float *left[ends], *right[ends], *rest[ends];
    };

    static constexpr i64 strip = 256;  // pixels whose D stay in the first cache

    const float* row(i64 c) const { return c < 0 || c >= tile.channels ? zeros : x.at(c); }

    // In float, and in double.
    static vf square(vf v) { return v * v; }
    static vf add_square(vf v, vf sum) { return fma(v, v, sum); }
    static vf sum(vf a, vf b) { return a + b; }
    static Doubles square(Doubles v) { return {v.low * v.low, v.high * v.high}; }
    static Doubles add_square(Doubles v, Doubles sum) {
        return {fma(v.low, v.low, sum.low), fma(v.high, v.high, sum.high)};
    }
    static Doubles load_pair(const double* p) { return {load(p), load(p + double_lanes)}; }
    static Doubles sum(Doubles a, Doubles b) { return {a.low + b.low, a.high + b.high}; }

    void add_block(i64 b) {
        const i64 first = b * group + ends - k.before, n = tile.pixels;
        const float* rows[group];
        for (i64 r = 0; r < group; ++r) rows[r] = row(first + r);
        const auto into = cores.into(b);
        const auto block = [&](i64 i, auto get) {
            const Doubles s = add_square(get(rows[3]), add_square(get(rows[2]), add_square(get(rows[1]), square(get(rows[0])))));
            into.put(i, Single{s.low}, Single{s.high});
        };
        i64 i = 0;
        for (; i + float_lanes <= n; i += float_lanes) block(i, [&](const float* from) { return load_doubles(from + i); });
        if (i < n) block(i, [&](const float* from) { return widen(load_part(from + i, n - i)); });
        cores.end(b);
    }

    void finish_group(i64 g, i64 first, i64 n) {
        const i64 c = g * group;
        Ends at;
        for (i64 r = 0; r < ends; ++r) {
            at.left[r] = row(c - k.before + r) + first;
            at.right[r] = row(c + k.after + 1 + r) + first;
            at.rest[r] = row(c - k.before + ends + blocks * group + r) + first;
        }
        const bool in_float = finish.common && energies_of<vf>(at, g, first, n);
        if (!in_float) energies_of<Doubles>(at, g, first, n);
        finish_rows(in_float ? finish.common : finish.rare, c, first, n);
    }

    void finish_rows(PowerRow finish, i64 c, i64 first, i64 n) {
        for (i64 r = 0; r < group && c + r < tile.channels; ++r) {
            const Energies d = {energies + r * strip, rounded + r * strip};
            const float *own = x.at(c + r) + first, *ahead = x.ahead(c + k.after + group + r) + first;
            S* to = y.row(c + r) + first;
            const ScalarResult scalar{scalar_result, this, c + r, first};
            if constexpr (sizeof(S) == 4) {
                finish(d, own, ahead, tile.stream ? result : to, n, numbers, scalar);
                if (tile.stream) stream_row(to, result, n);
            } else {
                finish(d, own, ahead, result, n, numbers, scalar);
                for (i64 i = 0; i < n; i += float_lanes) put(to, i, n, load(result + i));
            }
        }
    }

    // D of a group, with its ends and the rest summed as V. Whether float can be trusted with all of
    // them, where V is one of floats.
    template <class V>
    bool energies_of(const Ends& at, i64 g, i64 first, i64 n) {
        constexpr bool in_float = std::is_same_v<V, vf>;
        const vd scale = all(k.scale), bias = all(k.bias);
        const double* cores_from[] = {nothing, nothing};  // a window has two rows at most
        static_assert(direct_blocks == 2);
        if (blocks) {
            const auto kept = cores.rows(g);
            for (int r = 0; r < kept.count; ++r) cores_from[r] = kept.row(r) + first;
        }
        const i64 count = rest;
        Beyond far(numbers.lowest, numbers.limit);
        const vf float_scale = all(float(k.scale)), float_bias = all(float(k.bias));
        const auto vector = [&](i64 i, auto get) {
            Doubles core = sum(load_pair(cores_from[0] + i), load_pair(cores_from[1] + i));
            for (i64 r = 0; r < count; ++r) core = add_square(get_doubles(at.rest[r], i, n), core);
            vf float_core;
            if constexpr (in_float) float_core = narrow(core);
            const auto put = [&](int r, V of_ends) {
                if constexpr (in_float) {
                    const vf d = fma(float_core + of_ends, float_scale, float_bias);
                    far.add(d);
                    store(rounded + r * strip + i, d);
                } else {
                    const Doubles s = sum(core, of_ends);
                    store(energies + r * strip + i, fma(s.low, scale, bias));
                    store(energies + r * strip + i + double_lanes, fma(s.high, scale, bias));
                }
            };
            const V left2 = square(get(at.left[2])), left1 = add_square(get(at.left[1]), left2);
            put(0, add_square(get(at.left[0]), left1));
            const V right0 = square(get(at.right[0])), right1 = add_square(get(at.right[1]), right0);
            put(1, sum(left1, right0));
            put(2, sum(left2, right1));
            put(3, add_square(get(at.right[2]), right1));
        };
        i64 i = 0;
        for (; i + float_lanes <= n; i += float_lanes) {
            vector(i, [&](const float* from) -> V {
                if constexpr (in_float) return load(from + i);
                else return load_doubles(from + i);
            });
        }
        if (i < n) {
            vector(i, [&](const float* from) -> V {
                const vf v = load_part(from + i, n - i);
                if constexpr (in_float) return v;
                else return widen(v);
            });
        }
        return !far.any();
    }

    static double scalar_result(const void* kernel, i64 c, i64 p) {
        const auto& self = *static_cast<const GroupedForward*>(kernel);
        const i64 first = most(0, c - self.k.before), last = least(self.tile.channels - 1, c + self.k.after);
        self.x.column(p, first, last, self.column);
        return scalar::forward(self.column, last - first + 1, c - first, self.k);
    }

    const Tile& tile;
    const Coefficients& k;
    const Numbers numbers;
    const i64 width, groups, blocks, rest, pitch;
    History<S, float> x;
    Writer<S> y;
    Window<Single, direct_blocks> cores;  // over blocks
    const PowerRows finish;
    float *zeros = nullptr, *rounded = nullptr, *result = nullptr;
    double *energies = nullptr, *nothing = nullptr, *column = nullptr;
};

}  // namespace
}  // namespace lrn

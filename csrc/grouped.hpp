// Forward for windows of more than direct_width channels and inputs of 32 bits or less, four
// channels at a time. Of the windows of four neighbours
//
//     left[0] left[1] left[2]  core … core  right[0] right[1] right[2]
//
// all four hold the core, and each some of the ends: window r is left[r…], core, right[…r). The
// core is made of blocks of four channels, whose sums are kept, and the rest. All sums are of
// doubles, by additions only.
#pragma once

#include "careful.hpp"
#include "energy.hpp"
#include "window.hpp"

namespace lrn {
namespace {

constexpr i64 ends = group - 1;
static_assert(direct_width >= ends, "the core has at least one row");

// ---- from D to results ---------------------------------------------------------------------------

// y = x D^-beta of n elements.
template <Power power>
inline void power_row(const double* d_row, const float* own, const float* ahead, float* to, i64 n, const Numbers& numbers,
                      const ScalarResult& scalar) {
    const float lowest = numbers.lowest, limit = numbers.limit;
    const FloatExponent exponent = numbers.exponent;
    const auto compute = [&](i64 i, vf x) {
        const Doubles d = {load(d_row + i), load(d_row + i + double_lanes)};
        const vf rounded = narrow(d);
        vf p;
        if constexpr (!is_chain(power)) p = power_float<true>(rounded, exponent);
        else if constexpr (power == Power::three)
            p = reciprocal(narrow(Doubles{d.low * d.low * d.low, d.high * d.high * d.high}));
        else p = chain<power>(rounded);
        vf y = x * p;
        if (beyond(rounded, lowest, limit)) [[unlikely]]
            y = careful_forward<power>(y, x, rounded, d, numbers, {scalar.result, scalar.kernel, scalar.c, scalar.p + i});
        return y;
    };
    i64 i = 0;
    for (; i + float_lanes <= n; i += float_lanes) {
        __builtin_prefetch(ahead + i);
        store(to + i, compute(i, load(own + i)));
    }
    if (i < n) store_part(to + i, compute(i, load_part(own + i, n - i)), n - i);
}

using PowerRow = void (*)(const double*, const float*, const float*, float*, i64, const Numbers&, const ScalarResult&);

inline PowerRow power_row_for(Power power) {
    switch (power) {
        case Power::quarter: return power_row<Power::quarter>;
        case Power::half: return power_row<Power::half>;
        case Power::three_quarter: return power_row<Power::three_quarter>;
        case Power::one: return power_row<Power::one>;
        case Power::five_quarter: return power_row<Power::five_quarter>;
        case Power::three_half: return power_row<Power::three_half>;
        case Power::seven_quarter: return power_row<Power::seven_quarter>;
        case Power::two: return power_row<Power::two>;
        case Power::three: return power_row<Power::three>;
        default: return power_row<Power::steep>;
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
          pitch(round_up(tile.pixels, float_lanes)),
          x(tile, X, width + ends),
          y(tile),
          cores(groups + blocks - 1, blocks, tile.pixels),
          finish(power_row_for(tile.power)) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        if (blocks) cores.place(arena);
        zeros = arena.take<float>(pitch);
        energies = arena.take<double>(group * strip);
        if (sizeof(S) != 4) result = arena.take<float>(strip);
        column = arena.take<double>(least(width, tile.channels));
    }

    void run() {
        std::memset(zeros, 0, std::size_t(pitch) * sizeof(float));
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
    static constexpr i64 strip = 256;  // pixels whose D stay in the first cache

    const float* row(i64 c) const { return c < 0 || c >= tile.channels ? zeros : x.at(c); }

    static Doubles square(Doubles v) { return {v.low * v.low, v.high * v.high}; }
    static Doubles add_square(Doubles v, Doubles sum) {
        return {fma(v.low, v.low, sum.low), fma(v.high, v.high, sum.high)};
    }
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
        const i64 c = g * group, rest = width - ends - blocks * group;
        const float *left[ends], *right[ends], *others[ends];
        for (i64 r = 0; r < ends; ++r) {
            left[r] = row(c - k.before + r) + first;
            right[r] = row(c + k.after + 1 + r) + first;
            others[r] = row(c - k.before + ends + blocks * group + r) + first;
        }
        if (blocks) {
            const auto whole = cores.rows(g);
            with_count(whole.count, [&](auto count) {
                energies_of(left, right, others, rest, n, [&](i64 i) -> Doubles {
                    const Pairs p = whole.template at<count.value>(first + i);
                    return {p.low.high, p.high.high};
                });
            });
        } else {
            energies_of(left, right, others, rest, n, [](i64) { return Doubles{}; });
        }
        for (i64 r = 0; r < group && c + r < tile.channels; ++r)
            finish_row(c + r, energies + r * strip, x.ahead(c + k.after + group + r) + first, first, n);
    }

    void finish_row(i64 c, const double* d, const float* ahead, i64 first, i64 n) {
        const float* own = x.at(c) + first;
        S* to = y.row(c) + first;
        const ScalarResult scalar{scalar_result, this, c, first};
        if constexpr (sizeof(S) == 4) {
            finish(d, own, ahead, to, n, numbers, scalar);
        } else {
            finish(d, own, ahead, result, n, numbers, scalar);
            for (i64 i = 0; i < n; i += float_lanes) put(to, i, n, load(result + i));
        }
    }

    template <class Core>
    void energies_of(const float* const (&left)[ends], const float* const (&right)[ends], const float* const (&others)[ends],
                     i64 rest, i64 n, Core core_at) {
        const vd scale = all(k.scale), bias = all(k.bias);
        double* const to = energies;
        const auto vector = [&](i64 i, auto get) {
            const auto put = [&](int r, Doubles s) {
                store(to + r * strip + i, fma(s.low, scale, bias));
                store(to + r * strip + i + double_lanes, fma(s.high, scale, bias));
            };
            Doubles core = core_at(i);
            for (i64 r = 0; r < rest; ++r) core = add_square(get(others[r]), core);
            const Doubles left2 = square(get(left[2])), left1 = add_square(get(left[1]), left2);
            put(0, sum(core, add_square(get(left[0]), left1)));
            const Doubles right0 = square(get(right[0])), right1 = add_square(get(right[1]), right0);
            put(1, sum(sum(core, left1), right0));
            put(2, sum(sum(core, left2), right1));
            put(3, sum(core, add_square(get(right[2]), right1)));
        };
        i64 i = 0;
        for (; i + float_lanes <= n; i += float_lanes) {
            vector(i, [&](const float* from) { return load_doubles(from + i); });
        }
        if (i < n) vector(i, [&](const float* from) { return widen(load_part(from + i, n - i)); });
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
    const i64 width, groups, blocks, pitch;
    History<S, float> x;
    Writer<S> y;
    Window<Single> cores;  // over blocks
    const PowerRow finish;
    float *zeros = nullptr, *result = nullptr;
    double *energies = nullptr, *column = nullptr;
};

}  // namespace
}  // namespace lrn

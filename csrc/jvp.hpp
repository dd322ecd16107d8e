// dy[c] = t[c] D[c]^-beta - 2 scale beta x[c] D[c]^(-beta-1) * sum over the window of x[j] t[j].
#pragma once

#include "energy.hpp"
#include "narrow.hpp"
#include "whole.hpp"
#include "window.hpp"

namespace lrn {
namespace {

template <class S, Power power>
class Jvp {
public:
    explicit Jvp(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          t(tile, second, k.before + k.after + 1),
          dy(tile),
          squares(tile, k.before, k.after),
          products(tile, k.before, k.after),
          energy(k) {}

    void place(Arena& arena) {
        x.place(arena);
        t.place(arena);
        dy.place(arena);
        squares.place(arena);
        products.place(arena);
        rare.place(arena, tile.pixels);
        last_unwieldy = arena.take<i64>(tile.pixels);
        column = arena.take<double>(2 * tile.channels);
    }

    void run() {
        for (i64 p = 0; p < tile.pixels; ++p) last_unwieldy[p] = -1;
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) take_in(j);
            squares.end(j);
            products.end(j);
            if (j >= k.after) finish(j - k.after);
        }
    }

private:
    void take_in(i64 j) {
        x.fetch(j);
        t.fetch(j);
        squares.put_products(j, x.at(j), x.at(j), tile.pixels);
        products.put_products(j, x.at(j), t.at(j), tile.pixels);
        if constexpr (sizeof(S) == 8) note_unwieldy(j);
    }

    void note_unwieldy(i64 j) {
        const i64 n = tile.pixels;
        rare.clear();
        for (i64 i = 0; i < n; i += float_lanes) {
            const unsigned lanes = unwieldy<S>(get_doubles(x.at(j), i, n)) |
                                   unwieldy<S>(get_doubles(t.at(j), i, n));
            if (lanes) rare.add(i, lanes, n);
        }
        any_unwieldy = any_unwieldy || rare.any();
        for (i64 p : rare) last_unwieldy[p] = j;
    }

    void finish(i64 c) {
        const auto sums = squares.rows(c), along = products.rows(c);
        const S *own = x.at(c), *tangent = t.at(c);
        S* to = dy.row(c);
        const i64 n = tile.pixels;
        const double factor = 2 * k.scale * k.beta;
        rare.clear();
        with_count(sums.count, [&](auto count) {
            const auto one_vector = [&](vd v, vd u, vd power_, vd inverse, vd sum) {
                const vd direct = u * power_;
                return factor == 0 ? direct : fnma(all(factor) * v * (power_ * inverse), sum, direct);
            };
            for (i64 i = 0; i < n; i += float_lanes) {
                const Powers p = energy(sums.template at<count.value>(i));
                const Pairs s = along.template at<count.value>(i);
                const Doubles v = get_doubles(own, i, n), u = get_doubles(tangent, i, n);
                put_doubles(to, i, n,
                            {one_vector(v.low, u.low, p.power.low, p.inverse.low, s.low.high),
                             one_vector(v.high, u.high, p.power.high, p.inverse.high, s.high.high)});
                if (p.rare) rare.add(i, p.rare, n);
            }
        });
        for (i64 p : rare) repair(c, p, to);
        if (any_unwieldy)
            for (i64 p = 0; p < n; ++p)
                if (last_unwieldy[p] >= 0 && last_unwieldy[p] >= c - k.before) repair(c, p, to);
        dy.done(c);
    }

    void repair(i64 c, i64 p, S* to) {
        const i64 first = most(0, c - k.before), last = least(tile.channels - 1, c + k.after);
        double* tangents = column + tile.channels;
        x.column(p, first, last, column);
        t.column(p, first, last, tangents);
        put_one(to + p, scalar::jvp(column, tangents, last - first + 1, c - first, k));
    }

    const Tile& tile;
    const Coefficients& k;
    History<S> x, t;
    Writer<S> dy;
    Window<Sum<S>> squares, products;
    Energy<S, power> energy;
    Rare rare;
    double* column = nullptr;
    i64* last_unwieldy = nullptr;
    bool any_unwieldy = false;
};

// ---- short windows -------------------------------------------------------------------------------
//
// D and its powers in float, products with the tangent in double, as in the backward pass.

template <Power power>
inline void narrow_jvp_row(const NarrowRows& rows, const NarrowRows& tangents, float* to, i64 n, const Numbers& numbers) {
    const NarrowEnergy<power, float> energy(numbers);
    const NarrowRows near = rows, along = tangents;
    const Coefficients& k = numbers.k;
    const vd factor = all(2 * k.scale * k.beta);
    const bool comes_through = k.scale != 0 && k.beta != 0;
    const auto compute = [&](i64 i, auto get) -> vf {
        const NarrowPowers p = energy(near, get);
        Doubles d_power = widen(p.power), inverse = widen(reciprocal(p.d));
        unsigned lanes = 0;
        if (p.beyond) [[unlikely]] {
            Doubles better = d_power, better_inverse = inverse;
            lanes = careful_powers<power>(better, better_inverse, p.d, energy.wide_energy(near, get), numbers);
            d_power = better;
            inverse = better_inverse;
        }
        const Doubles v = widen(get(near.row[near.own])), u = widen(get(along.row[near.own]));
        Doubles y = {u.low * d_power.low, u.high * d_power.high};
        if (comes_through) {  // else nothing comes through, not even nan
            Doubles sum{};
            for (int r = 0; r < direct_width; ++r) {
                const Doubles a = widen(get(near.row[r])), b = widen(get(along.row[r]));
                sum = {fma(a.low, b.low, sum.low), fma(a.high, b.high, sum.high)};
            }
            y = {fnma(factor * v.low * (d_power.low * inverse.low), sum.low, y.low),
                 fnma(factor * v.high * (d_power.high * inverse.high), sum.high, y.high)};
        }
        vf result = narrow(y);
        if (lanes) [[unlikely]] {
            float lane[float_lanes];
            store(lane, result);
            for (; lanes; lanes &= lanes - 1) {
                const int l = __builtin_ctz(lanes);
                if (i + l >= n) break;
                double xs[direct_width], ts[direct_width];
                for (int r = 0; r < direct_width; ++r) {
                    xs[r] = double(near.row[r][i + l]);
                    ts[r] = double(along.row[r][i + l]);
                }
                lane[l] = float(scalar::jvp(xs, ts, direct_width, near.own, k));
            }
            result = load(lane);
        }
        return result;
    };
    i64 i = 0;
    for (; i + float_lanes <= n; i += float_lanes) {
        __builtin_prefetch(near.ahead + i);
        __builtin_prefetch(along.ahead + i);
        store(to + i, compute(i, [&](const float* row) { return load(row + i); }));
    }
    if (i < n) store_part(to + i, compute(i, [&](const float* row) { return load_part(row + i, n - i); }), n - i);
}

using NarrowJvpRow = void (*)(const NarrowRows&, const NarrowRows&, float*, i64, const Numbers&);

inline NarrowJvpRow narrow_jvp_row_for(Power power) {
    switch (power) {
        case Power::quarter: return narrow_jvp_row<Power::quarter>;
        case Power::half: return narrow_jvp_row<Power::half>;
        case Power::three_quarter: return narrow_jvp_row<Power::three_quarter>;
        case Power::one: return narrow_jvp_row<Power::one>;
        case Power::five_quarter: return narrow_jvp_row<Power::five_quarter>;
        case Power::three_half: return narrow_jvp_row<Power::three_half>;
        case Power::seven_quarter: return narrow_jvp_row<Power::seven_quarter>;
        case Power::two: return narrow_jvp_row<Power::two>;
        case Power::three: return narrow_jvp_row<Power::three>;
        case Power::steep: return narrow_jvp_row<Power::steep>;
        default: return narrow_jvp_row<Power::general>;
    }
}

template <class S>
class NarrowJvp {
public:
    explicit NarrowJvp(const Tile& tile)
        : tile(tile), numbers(tile.coefficients, tile.power, true), x(tile, X, direct_width),
          t(tile, second, direct_width), dy(tile) {}

    void place(Arena& arena) {
        x.place(arena);
        t.place(arena);
        dy.place(arena);
        zeros = arena.take<float>(round_up(tile.pixels, float_lanes));
        if (sizeof(S) != 4) result = arena.take<float>(round_up(tile.pixels, float_lanes));
    }

    void run() {
        const Coefficients& k = tile.coefficients;
        const NarrowJvpRow compute = narrow_jvp_row_for(tile.power);
        std::memset(zeros, 0, std::size_t(tile.pixels) * sizeof(float));
        NarrowRows rows, tangents;
        rows.own = tangents.own = int(k.before);
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) {
                x.fetch(j);
                t.fetch(j);
            }
            const i64 c = j - k.after;
            if (c < 0) continue;
            rows_around(c, k.before, k.after, tile.channels, zeros, [&](i64 from) { return x.at(from); }, rows.row);
            rows_around(c, k.before, k.after, tile.channels, zeros, [&](i64 from) { return t.at(from); }, tangents.row);
            rows.ahead = x.ahead(c + k.after + 1);
            tangents.ahead = t.ahead(c + k.after + 1);
            if constexpr (sizeof(S) == 4) {
                compute(rows, tangents, dy.row(c), tile.pixels, numbers);
            } else {
                compute(rows, tangents, result, tile.pixels, numbers);
                S* to = dy.row(c);
                for (i64 i = 0; i < tile.pixels; i += float_lanes) put(to, i, tile.pixels, load(result + i));
            }
            dy.done(c);
        }
    }

private:
    const Tile& tile;
    const Numbers numbers;
    History<S, float> x, t;
    Writer<S> dy;
    float *zeros = nullptr, *result = nullptr;
};

template <class S>
bool jvp(const Tile& tile) {
    if (tile.whole) return run_in_scratch(WholeAxis<S, Whole::derivative>(tile));
    if constexpr (sizeof(S) != 8)
        if (tile.narrow) return run_in_scratch(NarrowJvp<S>(tile));
    return run_for_power<Jvp, S>(tile);
}

}  // namespace
}  // namespace lrn

// dy[c] = t[c] D[c]^-beta - 2 scale beta x[c] D[c]^(-beta-1) * sum over the window of x[j] t[j].
#pragma once

#include "energy.hpp"
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

template <class S>
bool jvp(const Tile& tile) {
    return run_for_power<Jvp, S>(tile);
}

}  // namespace
}  // namespace lrn

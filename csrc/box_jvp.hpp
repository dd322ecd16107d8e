// dy[p] = t[p] D[p]^-beta - 2 scale beta x[p] D[p]^(-beta-1) * sum over the box of x[q] t[q].
#pragma once

#include "box_forward.hpp"

namespace lrn {
namespace {

template <class S, Power power>
struct BoxJvpLine {
    using Rows = typename BoxRing<Sum<S>>::Rows;
    LRN_LOOP static void line(const Rows& squares, const Rows& products, i64 cell, const S* x, const S* t, S* to, i64 n,
                     const EnergyNumbers& numbers, BoxRare& rare) {
        const Energy<S, power> energy(numbers);
        const i64 at = cell * round_up(n, float_lanes);
        const double factor = 2 * numbers.k.scale * numbers.k.beta;
        const auto one_vector = [&](vd v, vd u, vd to_beta, vd inverse, vd sum) {
            const vd direct = u * to_beta;
            return factor == 0 ? direct : fnma(all(factor) * v * (to_beta * inverse), sum, direct);
        };
        with_rows<power != Power::any>(squares.count, [&](auto count) {
            for (i64 i = 0; i < n; i += float_lanes) {
                const Powers p = energy(squares.template at<count.value>(at + i));
                const Pairs s = products.template at<count.value>(at + i);
                const Doubles v = get_doubles(x, i, n), u = get_doubles(t, i, n);
                put_doubles(to, i, n,
                            {one_vector(v.low, u.low, p.power.low, p.inverse.low, s.low.high),
                             one_vector(v.high, u.high, p.power.high, p.inverse.high, s.high.high)});
                if (p.rare) rare.add(cell, i, p.rare);
            }
        });
    }
};

template <class S>
class BoxJvp {
public:
    explicit BoxJvp(const BoxTile& tile)
        : tile(tile),
          k(tile.coefficients),
          pitch(round_up(tile.lanes, float_lanes)),
          x(tile, X, k.before + k.after + 1),
          t(tile, second, k.before + k.after + 1),
          dy(tile),
          squares(tile),
          numbers(k, tile.power, sizeof(S) == 8, false),
          products_of(tile, false),
          rare(tile),
          reached(tile, true),
          exact_squares(tile, false, 1),
          exact_products(tile, false, 1) {}

    void place(Arena& arena) {
        x.place(arena);
        t.place(arena);
        dy.place(arena);
        squares.place(arena);
        products_of.place(arena);
        rare.place(arena);
        reached.place(arena);
        exact_squares.place(arena);
        exact_products.place(arena);
    }

    void run() {
        x.begin();
        t.begin();
        dy.begin();
        squares.begin();
        products_of.begin();
        const auto compute = line_for<BoxJvpLine, S>(tile.power);
        for (i64 j = most(tile.first - k.before, 0); j < tile.last + k.after; ++j) {
            if (j < tile.rows) take_in(j);
            squares.end(j);
            products_of.end(j);
            if (j - k.after < tile.first) continue;
            finish(j - k.after, compute);
        }
    }

private:
    void take_in(i64 j) {
        x.fetch(j);
        t.fetch(j);
        squares.take_in(j, x);
        products_of.take_in(j, [&](i64 cell) { return products<Sum<S>>(x.line(j, cell), t.line(j, cell), tile.lanes); });
        if constexpr (sizeof(S) == 8) {
            rare.clear();
            for (i64 cell = 0; cell < tile.cells; ++cell)
                for (i64 i = 0; i < tile.lanes; i += float_lanes) {
                    const unsigned lanes = unwieldy<S>(get_doubles(x.line(j, cell), i, tile.lanes)) |
                                           unwieldy<S>(get_doubles(t.line(j, cell), i, tile.lanes));
                    if (lanes) rare.add(cell, i, lanes);
                }
            reached.mark(j, rare);
        }
    }

    template <class Compute>
    void finish(i64 c, Compute compute) {
        const auto sums = squares.rows(c), along = products_of.rows(c);
        rare.clear();
        for (i64 cell = 0; cell < tile.cells; ++cell) {
            compute(sums, along, cell, x.line(c, cell), t.line(c, cell), dy.line(c, cell), tile.lanes, numbers, rare);
            dy.done(c, cell);
        }
        for (i64 flat : rare) repair(c, flat);
        reached.each(c, k.before, [&](i64 flat) { repair(c, flat); });
    }

    void repair(i64 c, i64 flat) {
        const auto value = [&](const BoxReader<S>& of, i64 r, i64 at) {
            const Place p = place_of(at, pitch);
            return of.at(r, p.cell, p.lane);
        };
        const Real squares_sum = exact_squares.at(c, flat, [&](i64 r, i64 at) {
            const Real v = value(x, r, at);
            return v * v;
        });
        const Real products_sum =
            exact_products.at(c, flat, [&](i64 r, i64 at) { return Real(value(x, r, at)) * Real(value(t, r, at)); });
        const Place p = place_of(flat, pitch);
        dy.replace(c, p.cell, p.lane, scalar::box_jvp(value(x, c, flat), value(t, c, flat), squares_sum, products_sum, k));
    }

    const BoxTile& tile;
    const Coefficients& k;
    i64 pitch;
    BoxReader<S> x, t;
    BoxWriter<S> dy;
    BoxSquares<S> squares;
    const EnergyNumbers numbers;
    BoxWindow<Sum<S>> products_of;
    BoxRare rare;
    Reached reached;
    ExactSums exact_squares, exact_products;
};

template <class S>
bool box_jvp(const BoxTile& tile) {
    return run_in_scratch(BoxJvp<S>(tile));
}

}  // namespace
}  // namespace lrn

// dx[p] = g[p] D[p]^-beta - 2 scale beta x[p] * sum over q of g[q] x[q] D[q]^(-beta-1), where q runs
// over the mirrored box: the elements whose own box holds p.
#pragma once

#include "box_forward.hpp"

namespace lrn {
namespace {

// The two terms in which the cotangents of one line reach dx: direct = g D^-beta, through =
// direct x / D, the latter as what sums are carried in.
template <class S, Power power>
struct BoxPassBack {
    LRN_LOOP static void line(const typename BoxRing<Sum<S>>::Rows& sums, i64 cell, const S* x, const S* g, i64 n,
                     const EnergyNumbers& numbers, double* direct, double* through, BoxRare& rare) {
        using A = Sum<S>;
        const Energy<S, power> energy(numbers);
        const i64 pitch = round_up(n, float_lanes), at = cell * pitch;
        with_rows<power != Power::any>(sums.count, [&, near = sums, energy](auto count) {
            for (i64 i = 0; i < n; i += float_lanes) {
                const Powers p = energy(near.template at<count.value>(at + i));
                const Doubles a = get_doubles(x, i, n), b = get_doubles(g, i, n);
                const vd low = b.low * p.power.low, high = b.high * p.power.high;
                store(direct + i, low);
                store(direct + i + double_lanes, high);
                A::product(low, a.low * p.inverse.low).store(through + i, pitch);
                A::product(high, a.high * p.inverse.high).store(through + i + double_lanes, pitch);
                const unsigned lanes = p.rare | unwieldy<S>(a) | unwieldy<S>(b);
                if (lanes) rare.add(cell, i, lanes);
            }
        });
    }
};

template <class S>
class BoxVjp {
    using A = Sum<S>;

public:
    explicit BoxVjp(const BoxTile& tile)
        : tile(tile),
          k(tile.coefficients),
          pitch(round_up(tile.lanes, float_lanes)),
          direct_depth(least(k.before + 1, tile.rows)),
          x(tile, X, 2 * (k.before + k.after) + 1),
          g(tile, second, k.before + k.after + 1),
          dx(tile),
          squares(tile),
          numbers(k, tile.power, sizeof(S) == 8, false),
          through(tile, true),
          rare(tile),
          reached(tile, false),
          exact_squares(tile, false, k.before + k.after + 1),
          exact_through(tile, true, 1),
          exact_direct_terms(tile, k.before + k.after + 1),
          exact_through_terms(tile, k.before + k.after + 1) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        dx.place(arena);
        squares.place(arena);
        through.place(arena);
        direct = arena.take<double>(direct_depth * tile.cells * pitch);
        through_line = arena.take<double>(A::parts * pitch);
        rare.place(arena);
        reached.place(arena);
        exact_squares.place(arena);
        exact_through.place(arena);
        exact_direct_terms.place(arena);
        exact_through_terms.place(arena);
    }

    void run() {
        x.begin();
        g.begin();
        dx.begin();
        squares.begin();
        through.begin();
        const i64 first_term = most(tile.first - k.after, 0);
        const auto compute = line_for<BoxPassBack, S>(tile.power);
        for (i64 j = most(first_term - k.before, 0); j < tile.last + k.after + k.before; ++j) {
            if (j < tile.rows) {
                x.fetch(j);
                squares.take_in(j, x);
            }
            squares.end(j);
            const i64 m = j - k.after, c = m - k.before;
            if (m < first_term) continue;
            if (m < tile.rows) pass_back(m, compute);
            through.end(m);
            if (c >= tile.first) finish(c);
        }
    }

private:
    double* direct_line(i64 m, i64 cell) const { return direct + (m % direct_depth * tile.cells + cell) * pitch; }

    template <class Compute>
    void pass_back(i64 m, Compute compute) {
        g.fetch(m);
        const auto sums = squares.rows(m);
        rare.clear();
        through.take_in(m, [&](i64 cell) {
            compute(sums, cell, x.line(m, cell), g.line(m, cell), tile.lanes, numbers, direct_line(m, cell), through_line, rare);
            return [this](i64 i) -> Two<A> { return {A::load(through_line + i, pitch), A::load(through_line + i + double_lanes, pitch)}; };
        });
        reached.mark(m, rare);
    }

    void finish(i64 c) {
        put_gradients(c);
        reached.each(c, k.after, [&](i64 flat) { repair(c, flat); });
    }

    LRN_LOOP void put_gradients(i64 c) {
        const auto sums = through.rows(c);
        const i64 n = tile.lanes;
        const vd factor = all(2 * k.scale * k.beta);
        for (i64 cell = 0; cell < tile.cells; ++cell) {
            const double* from = direct_line(c, cell);
            const S* own = x.line(c, cell);
            S* to = dx.line(c, cell);
            with_rows<true>(sums.count, [near = sums, from, own, to, n, factor, at = cell * pitch](auto count) {
                const bool through = factor[0] != 0;  // else nothing comes through, not even nan
                for (i64 i = 0; i < n; i += float_lanes) {
                    Doubles result = {load(from + i), load(from + i + double_lanes)};
                    if (through) {
                        const Pairs t = near.template at<count.value>(at + i);
                        const Doubles v = get_doubles(own, i, n);
                        result = {fnma(factor * v.low, t.low.high, result.low), fnma(factor * v.high, t.high.high, result.high)};
                    }
                    put_doubles(to, i, n, result);
                }
            });
            dx.done(c, cell);
        }
    }

    double value(const BoxReader<S>& of, i64 r, i64 flat) const {
        const Place p = place_of(flat, pitch);
        return of.at(r, p.cell, p.lane);
    }

    scalar::BoxTerms exact_terms(i64 m, i64 flat) {
        const Real sum = exact_squares.at(m, flat, [&](i64 r, i64 at) {
            const Real v = value(x, r, at);
            return v * v;
        });
        return scalar::box_terms(value(x, m, flat), value(g, m, flat), sum, k);
    }

    void repair(i64 c, i64 flat) {
        const Real sum = exact_through.at(c, flat, [&](i64 m, i64 at) {
            return exact_through_terms.at(m, at, [&] { return exact_terms(m, at).through; });
        });
        const Real own = exact_direct_terms.at(c, flat, [&] { return exact_terms(c, flat).direct; });
        const Place p = place_of(flat, pitch);
        dx.replace(c, p.cell, p.lane, scalar::box_vjp(value(x, c, flat), own, sum, k));
    }

    const BoxTile& tile;
    const Coefficients& k;
    i64 pitch, direct_depth;
    BoxReader<S> x, g;
    BoxWriter<S> dx;
    BoxSquares<S> squares;
    const EnergyNumbers numbers;
    BoxWindow<A> through;
    double *direct = nullptr, *through_line = nullptr;
    BoxRare rare;
    Reached reached;
    ExactSums exact_squares, exact_through;
    Remembered exact_direct_terms, exact_through_terms;
};

template <class S>
bool box_vjp(const BoxTile& tile) {
    return run_in_scratch(BoxVjp<S>(tile));
}

}  // namespace
}  // namespace lrn

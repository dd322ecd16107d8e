// What one tile adds to the gradients of scale, beta and bias over boxes; the formulas stand in
// parameters.hpp.
#pragma once

#include "box_forward.hpp"

namespace lrn {
namespace {

template <class S>
class BoxParameters {
public:
    explicit BoxParameters(const BoxTile& tile)
        : tile(tile),
          k(tile.coefficients),
          pitch(round_up(tile.lanes, float_lanes)),
          x(tile, X, k.before + k.after + 1),
          g(tile, second, 1),
          squares(tile),
          energy(EnergyNumbers(k, Power::any, sizeof(S) == 8, false)),
          rare(tile),
          exact(tile, false, 1) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        squares.place(arena);
        for (double*& line : terms) line = arena.take<double>(tile.cells * pitch);
        rare.place(arena);
        exact.place(arena);
    }

    void run() {
        *tile.partial = {0, 0, 0};
        x.begin();
        g.begin();
        squares.begin();
        for (i64 j = most(tile.first - k.before, 0); j < tile.last + k.after; ++j) {
            if (j < tile.rows) {
                x.fetch(j);
                squares.take_in(j, x);
            }
            squares.end(j);
            if (j - k.after >= tile.first) add_row(j - k.after);
        }
    }

private:
    void add_row(i64 c) {
        g.fetch(c);
        const auto sums = squares.rows(c);
        rare.clear();
        for (i64 cell = 0; cell < tile.cells; ++cell) add_line(sums, c, cell);
        for (i64 flat : rare) repair(c, flat);
        tile.partial->scale += total(terms[0]);
        tile.partial->beta += total(terms[1]);
        tile.partial->bias += total(terms[2]);
    }

    LRN_LOOP void add_line(const typename BoxRing<Sum<S>>::Rows& sums, i64 c, i64 cell) {
        constexpr double ln2 = 0x1.62e42fefa39efp-1;
        const S *own = x.line(c, cell), *cotangent = g.line(c, cell);
        const i64 n = tile.lanes, at = cell * pitch;
        const auto one_vector = [&](i64 to, vd v, vd u, vd d, vd power, vd sum) {
            const vd h = u * power * v, slope = h / d * -k.beta;
            store(terms[0] + to, slope * sum);
            store(terms[1] + to, -h * (log2_of(d) * ln2));
            store(terms[2] + to, slope);
        };
        for (i64 i = 0; i < n; i += float_lanes) {
            const Pairs s = sums.template at<0>(at + i);
            const Powers p = energy(s);
            const Doubles v = get_doubles(own, i, n), u = get_doubles(cotangent, i, n);
            one_vector(at + i, v.low, u.low, p.d.low, p.power.low, s.low.high);
            one_vector(at + i + double_lanes, v.high, u.high, p.d.high, p.power.high, s.high.high);
            const unsigned lanes = p.rare | unwieldy<S>(v) | unwieldy<S>(u);
            if (lanes) rare.add(cell, i, lanes);
        }
    }

    // Always in the same order, whatever the width of a vector.
    double total(const double* row) const {
        double sum = 0;
        for (i64 cell = 0; cell < tile.cells; ++cell)
            for (i64 i = cell * pitch; i < cell * pitch + tile.lanes; ++i) sum += row[i];
        return sum;
    }

    void repair(i64 c, i64 flat) {
        const Real sum = exact.at(c, flat, [&](i64 r, i64 other) {
            const Place q = place_of(other, pitch);
            const Real v = x.at(r, q.cell, q.lane);
            return v * v;
        });
        const Place p = place_of(flat, pitch);
        const ParameterGradients term =
            scalar::box_parameters(x.at(c, p.cell, p.lane), g.at(c, p.cell, p.lane), sum, k);
        terms[0][flat] = term.scale;
        terms[1][flat] = term.beta;
        terms[2][flat] = term.bias;
    }

    const BoxTile& tile;
    const Coefficients& k;
    i64 pitch;
    BoxReader<S> x, g;
    BoxSquares<S> squares;
    Energy<S, Power::any> energy;
    BoxRare rare;
    ExactSums exact;
    double* terms[3] = {};
};

template <class S>
bool box_parameters(const BoxTile& tile) {
    return run_in_scratch(BoxParameters<S>(tile));
}

}  // namespace
}  // namespace lrn

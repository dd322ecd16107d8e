// What one tile adds to the gradients of scale, beta and bias:
//
//     scale: -beta sum g x D^(-beta-1) S     bias: -beta sum g x D^(-beta-1)
//     beta:  -sum g x D^-beta ln D           S the window's sum of squares
#pragma once

#include "energy.hpp"
#include "window.hpp"

namespace lrn {
namespace {

template <class S>
class Parameters {
public:
    explicit Parameters(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          g(tile, second, 1),
          squares(tile, k.before, k.after),
          energy(k),
          pitch(round_up(tile.pixels, float_lanes)) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        squares.place(arena);
        for (double*& row : terms) row = arena.take<double>(pitch);
        rare.place(arena, tile.pixels);
        column = arena.take<double>(tile.channels);
    }

    void run() {
        *tile.partial = {0, 0, 0};
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) {
                x.fetch(j);
                squares.put_products(j, x.at(j), x.at(j), tile.pixels);
            }
            squares.end(j);
            if (j >= k.after) add_row(j - k.after);
        }
    }

private:
    void add_row(i64 c) {
        constexpr double ln2 = 0x1.62e42fefa39efp-1;
        g.fetch(c);
        const auto sums = squares.rows(c);
        const S *own = x.at(c), *cotangent = g.at(c);
        const i64 n = tile.pixels;
        rare.clear();
        const auto one_vector = [&](i64 at, vd v, vd u, vd d, vd power, vd sum) {
            const vd h = u * power * v, slope = h / d * -k.beta;
            store(terms[0] + at, slope * sum);
            store(terms[1] + at, -h * (log2_of(d) * ln2));
            store(terms[2] + at, slope);
        };
        for (i64 i = 0; i < n; i += float_lanes) {
            const Pairs s = sums.template at<0>(i);
            const Powers p = energy(s);
            const Doubles v = get_doubles(own, i, n), u = get_doubles(cotangent, i, n);
            one_vector(i, v.low, u.low, p.d.low, p.power.low, s.low.high);
            one_vector(i + double_lanes, v.high, u.high, p.d.high, p.power.high, s.high.high);
            const unsigned lanes = p.rare | unwieldy<S>(v) | unwieldy<S>(u);
            if (lanes) rare.add(i, lanes, n);
        }
        for (i64 p : rare) repair(c, p);
        tile.partial->scale += total(terms[0]);
        tile.partial->beta += total(terms[1]);
        tile.partial->bias += total(terms[2]);
    }

    // Always in the same order, whatever the width of a vector.
    double total(const double* row) const {
        double sum = 0;
        for (i64 p = 0; p < tile.pixels; ++p) sum += row[p];
        return sum;
    }

    void repair(i64 c, i64 p) {
        const i64 first = most(0, c - k.before), last = least(tile.channels - 1, c + k.after);
        x.column(p, first, last, column);
        const ParameterGradients term =
            scalar::parameters(column, one(g.at(c) + p), last - first + 1, c - first, k);
        terms[0][p] = term.scale;
        terms[1][p] = term.beta;
        terms[2][p] = term.bias;
    }

    const Tile& tile;
    const Coefficients& k;
    History<S> x, g;
    Window<Sum<S>> squares;
    Energy<S, Power::general> energy;
    Rare rare;
    i64 pitch;
    double* column = nullptr;
    double* terms[3] = {};
};

template <class S>
bool parameters(const Tile& tile) {
    return run_in_scratch(Parameters<S>(tile));
}

}  // namespace
}  // namespace lrn

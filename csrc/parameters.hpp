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
struct Parameters {
    explicit Parameters(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          g(tile, second, 1),
          squares(tile, k.before, k.after),
          energy(tile),
          pitch(round_up(tile.pixels, F)) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        squares.place(arena);
        sums = arena.take<double>(pitch);
        d = arena.take<double>(pitch);
        rest = arena.take<double>(pitch);
        power = arena.take<double>(pitch);
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
            squares.ready(j);
            if (j >= k.after) add_row(j - k.after);
        }
    }

private:
    void add_row(i64 c) {
        constexpr double ln2 = 0x1.62e42fefa39efp-1;
        g.fetch(c);
        squares.sum(c, sums, rest);
        std::memcpy(d, sums, std::size_t(pitch) * sizeof(double));
        energy.apply(d, rest, power, rare);
        for (i64 i = 0; i < pitch; i += F) {
            const Doubles a = get_doubles(x.at(c), i, tile.pixels);
            const Doubles b = get_doubles(g.at(c), i, tile.pixels);
            const unsigned lanes = unwieldy<S>(a) | unwieldy<S>(b);
            if (lanes) rare.add(i, lanes, tile.pixels);
            const auto one_vector = [&](vd own, vd cotangent, i64 at) {
                const vd h = cotangent * load(power + at) * own;
                const vd slope = h / load(d + at) * -k.beta;
                store(terms[0] + at, slope * load(sums + at));
                store(terms[1] + at, -h * (log2_of(load(d + at)) * ln2));
                store(terms[2] + at, slope);
            };
            one_vector(a.low, b.low, i);
            one_vector(a.high, b.high, i + D);
        }
        for (i64 r = 0; r < rare.count; ++r) repair(c, rare.index[r]);
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
    Energy<S, false> energy;
    Rare rare;
    i64 pitch;
    double *sums = nullptr, *d = nullptr, *rest = nullptr, *power = nullptr, *column = nullptr;
    double* terms[3] = {};
};

template <class S>
bool parameters(const Tile& tile) {
    return run_in_scratch(Parameters<S>(tile));
}

}  // namespace
}  // namespace lrn

// What one tile adds to the gradients of scale, beta and bias:
//
//     scale: -beta sum g x D^(-beta-1) S     bias: -beta sum g x D^(-beta-1)
//     beta:  -sum g x D^-beta ln D           S the window's sum of squares
#pragma once

#include <type_traits>

#include "energy.hpp"
#include "narrow.hpp"
#include "whole.hpp"
#include "window.hpp"

namespace lrn {
namespace {

template <class S>
class Parameters {
public:
    static constexpr bool is_double = sizeof(S) == 8;
    using Row = std::conditional_t<is_double, double, float>;

    explicit Parameters(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          numbers(k, Power::any, true),
          x(tile, X, most(k.before + k.after + 1, tile.narrow ? direct_width : 0)),
          g(tile, second, 1),
          squares(tile, k.before, k.after),
          energy(k) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        if (tile.narrow) zeros = arena.take<Row>(round_up(tile.pixels, float_lanes));
        else squares.place(arena);
        rare.place(arena, tile.pixels);
        column = arena.take<double>(tile.channels);
    }

    void run() {
        *tile.partial = {0, 0, 0};
        if (tile.narrow) std::memset(zeros, 0, std::size_t(tile.pixels) * sizeof(Row));
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) {
                x.fetch(j);
                if (!tile.narrow) squares.put_products(j, x.at(j), x.at(j), tile.pixels);
            }
            if (!tile.narrow) squares.end(j);
            if (j >= k.after) add_row(j - k.after);
        }
    }

private:
    // Sums of one row, without the factors that all terms share.
    struct Sums {
        vd scale{}, beta{}, bias{};
    };

    void add_row(i64 c) {
        g.fetch(c);
        const i64 n = tile.pixels;
        rare.clear();
        Sums sums;
        if constexpr (!is_double) {
            if (tile.narrow) {
                NarrowRows rows;
                rows_around(c, k.before, k.after, tile.channels, zeros, [&](i64 from) { return x.at(from); }, rows.row);
                const float* ahead = x.ahead(c + k.after + 1);
                add_vectors(c, sums, [&](i64 i) -> Pairs {
                    __builtin_prefetch(ahead + i);
                    const Doubles s = i + float_lanes <= n
                        ? NarrowEnergy<Power::general, float>::wide_sum(rows, [&](const float* row) { return load(row + i); })
                        : NarrowEnergy<Power::general, float>::wide_sum(rows, [&](const float* row) { return load_part(row + i, n - i); });
                    return {{s.low, vd{}}, {s.high, vd{}}};
                });
            }
        }
        if (!tile.narrow) {
            const auto window = squares.rows(c);
            add_vectors(c, sums, [&](i64 i) { return window.template at<0>(i); });
        }
        constexpr double ln2 = 0x1.62e42fefa39efp-1;
        tile.partial->scale -= k.beta * total(sums.scale);
        tile.partial->beta -= ln2 * total(sums.beta);
        tile.partial->bias -= k.beta * total(sums.bias);
        for (i64 p : rare) add_scalar(c, p);
    }

    template <class SumAt>
    void add_vectors(i64 c, Sums& sums, SumAt sum_at) {
        const Row* own = x.at(c);
        const S *cotangent = g.at(c), *next = g.ahead(c + 1);
        const i64 n = tile.pixels;
        for (i64 i = 0; i < n; i += float_lanes) {
            __builtin_prefetch(next + i);
            const Pairs s = sum_at(i);
            const Doubles v = get_doubles(own, i, n), u = get_doubles(cotangent, i, n);
            unsigned lanes = unwieldy<S>(v) | unwieldy<S>(u);
            if constexpr (is_double) {
                const Powers p = energy(s);
                lanes |= p.rare;
                add(sums, lanes, u.low * v.low * p.power.low, p.inverse.low, log2_of(p.d.low), s.low.high);
                add(sums, lanes >> double_lanes, u.high * v.high * p.power.high, p.inverse.high, log2_of(p.d.high), s.high.high);
            } else {
                const auto half = [&](vd sum, vd product, unsigned shift) {
                    const vd d = fma(sum, all(k.scale), all(k.bias)), log = log2_of_single(d);
                    const unsigned odd = outside(d, all(numbers.wide.low), all(numbers.wide.high));
                    lanes |= odd << shift;
                    add(sums, odd, product * (exp2_of_single(log * -k.beta) + (d - d)), all(1.0) / d, log, sum);
                };
                half(s.low.high, u.low * v.low, 0);
                half(s.high.high, u.high * v.high, double_lanes);
            }
            if (lanes) rare.add(i, lanes, n);
        }
    }

    // h = g x D^-beta; the lanes left out are added by add_scalar.
    static void add(Sums& sums, unsigned left_out, vd h, vd inverse, vd log, vd sum) {
        vd slope = h * inverse, energy = slope * sum, logarithm = h * log;
        if (left_out) [[unlikely]]
            for (int l = 0; l < double_lanes; ++l)
                if (left_out >> l & 1) slope[l] = energy[l] = logarithm[l] = 0;
        sums.scale += energy;
        sums.beta += logarithm;
        sums.bias += slope;
    }

    static double total(vd v) {
        double sum = 0;
        for (int l = 0; l < double_lanes; ++l) sum += v[l];
        return sum;
    }

    void add_scalar(i64 c, i64 p) {
        const i64 first = most(0, c - k.before), last = least(tile.channels - 1, c + k.after);
        x.column(p, first, last, column);
        const ParameterGradients term =
            scalar::parameters(column, one(g.at(c) + p), last - first + 1, c - first, k);
        tile.partial->scale += term.scale;
        tile.partial->beta += term.beta;
        tile.partial->bias += term.bias;
    }

    const Tile& tile;
    const Coefficients& k;
    const Numbers numbers;
    History<S, Row> x;
    History<S> g;
    Window<Sum<S>> squares;
    Energy<S, Power::any> energy;
    Rare rare;
    Row* zeros = nullptr;
    double* column = nullptr;
};

template <class S>
bool parameters(const Tile& tile) {
    if (tile.whole) return run_in_scratch(WholeAxis<S, Whole::parameters>(tile));
    return run_in_scratch(Parameters<S>(tile));
}

}  // namespace
}  // namespace lrn

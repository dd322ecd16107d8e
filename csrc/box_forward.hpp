// y[p] = x[p] * D[p]^-beta over boxes.
#pragma once

#include "box_exact.hpp"
#include "box_short.hpp"
#include "energy.hpp"

namespace lrn {
namespace {

// One row function for each power: Function<S, power>::line.
template <template <class, Power> class Function, class S>
inline auto line_for(Power power) {
    switch (power) {
        case Power::quarter: return &Function<S, Power::quarter>::line;
        case Power::half: return &Function<S, Power::half>::line;
        case Power::three_quarter: return &Function<S, Power::three_quarter>::line;
        case Power::one: return &Function<S, Power::one>::line;
        case Power::two: return &Function<S, Power::two>::line;
        default: return &Function<S, Power::any>::line;
    }
}

// The outputs of the line of one cell.
template <class S, Power power>
struct BoxForwardLine {
    LRN_LOOP static void line(const typename BoxRing<Sum<S>>::Rows& sums, i64 cell, const S* own, S* to, i64 n,
                     const EnergyNumbers& numbers, BoxRare& rare) {
        const i64 at = cell * round_up(n, float_lanes);
        with_rows<power != Power::any>(sums.count, [&, near = sums](auto count) {
            if constexpr (Energy<S, power>::float_chain) {
                // The product of two floats rounds once, in float as in double.
                const vd scale = all(numbers.k.scale), bias = all(numbers.k.bias);
                const float lowest = float(numbers.plain.low), highest = float(numbers.plain.high);
                Beyond far(lowest, highest);
                const auto energy = [=](i64 i) {
                    const Pairs s = near.template at<count.value>(at + i);
                    return narrow(Doubles{fma(s.low.high, scale, bias), fma(s.high.high, scale, bias)});
                };
                const auto result = [&](i64 i, vf x) {
                    const vf d = energy(i);
                    far.add(d);
                    return x * chain<power, digits_of<S>>(d);
                };
                if (n < float_lanes) store_part(to, result(0, load_part(own, n)), n);
                else for_whole_vectors(n, [&](i64 i) { store(to + i, result(i, load(own + i))); });
                if (!far.any()) return;
                for (i64 i = 0; i < n; i += float_lanes)
                    if (const unsigned lanes = outside(energy(i), all(lowest), all(highest))) rare.add(cell, i, lanes);
            } else {
                const Energy<S, power> energy(numbers);
                for (i64 i = 0; i < n; i += float_lanes) {
                    const bool both = n - i > double_lanes;
                    const Pairs s = near.template at<count.value>(at + i, both);
                    const Powers p = energy(s, both);
                    const Doubles v = get_doubles(own, i, n);
                    put_doubles(to, i, n, {v.low * p.power.low, v.high * p.power.high});
                    if (p.rare) rare.add(cell, i, p.rare);
                }
            }
        });
    }
};

template <class S>
class BoxForward {
public:
    explicit BoxForward(const BoxTile& tile)
        : tile(tile),
          k(tile.coefficients),
          pitch(round_up(tile.lanes, float_lanes)),
          x(tile, X, k.before + k.after + 1),
          y(tile),
          squares(tile),
          numbers(k, tile.power, sizeof(S) == 8, false),
          rare(tile),
          exact(tile, false, 1) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        squares.place(arena);
        rare.place(arena);
        exact.place(arena);
    }

    void run() {
        x.begin();
        y.begin();
        squares.begin();
        const auto compute = line_for<BoxForwardLine, S>(tile.power);
        for (i64 j = most(tile.first - k.before, 0); j < tile.last + k.after; ++j) {
            if (j < tile.rows) {
                x.fetch(j);
                squares.take_in(j, x);
            }
            squares.end(j);
            if (j - k.after < tile.first) continue;
            finish(j - k.after, compute);
        }
    }

private:
    template <class Compute>
    void finish(i64 c, Compute compute) {
        const auto sums = squares.rows(c);
        rare.clear();
        for (i64 cell = 0; cell < tile.cells; ++cell) {
            compute(sums, cell, x.line(c, cell), y.line(c, cell), tile.lanes, numbers, rare);
            y.done(c, cell);
        }
        replace_rare(c, rare, pitch, x, y, exact, k);
    }

    const BoxTile& tile;
    const Coefficients& k;
    i64 pitch;
    BoxReader<S> x;
    BoxWriter<S> y;
    BoxSquares<S> squares;
    const EnergyNumbers numbers;
    BoxRare rare;
    ExactSums exact;
};

template <class S>
bool box_forward(const BoxTile& tile) {
    if constexpr (sizeof(S) == 4)
        if (is_short(tile)) return run_short(tile);
    return run_in_scratch(BoxForward<S>(tile));
}

}  // namespace
}  // namespace lrn

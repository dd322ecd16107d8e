// dy[c] = t[c] D[c]^-beta - 2 scale beta x[c] D[c]^(-beta-1) * sum over the window of x[j] t[j].
#pragma once

#include "energy.hpp"
#include "window.hpp"

namespace lrn {
namespace {

template <class S>
struct Jvp {
    explicit Jvp(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          t(tile, second, k.before + k.after + 1),
          dy(tile),
          squares(tile, k.before, k.after),
          products(tile, k.before, k.after),
          energy(tile),
          pitch(round_up(tile.pixels, F)) {}

    void place(Arena& arena) {
        x.place(arena);
        t.place(arena);
        dy.place(arena);
        squares.place(arena);
        products.place(arena);
        d = arena.take<double>(pitch);
        rest = arena.take<double>(pitch);
        power = arena.take<double>(pitch);
        along = arena.take<double>(pitch);
        rare.place(arena, tile.pixels);
        last_unwieldy = arena.take<i64>(pitch);
        column = arena.take<double>(2 * tile.channels);
    }

    void run() {
        for (i64 p = 0; p < pitch; ++p) last_unwieldy[p] = -1;
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) take_in(j);
            squares.ready(j);
            products.ready(j);
            if (j >= k.after) finish(j - k.after);
        }
    }

private:
    void take_in(i64 j) {
        x.fetch(j);
        t.fetch(j);
        squares.put_products(j, x.at(j), x.at(j), tile.pixels);
        products.put_products(j, x.at(j), t.at(j), tile.pixels);
        for (i64 i = 0; i < pitch; i += F) {
            const Doubles a = get_doubles(x.at(j), i, tile.pixels);
            const Doubles b = get_doubles(t.at(j), i, tile.pixels);
            for (unsigned lanes = unwieldy<S>(a) | unwieldy<S>(b); lanes; lanes &= lanes - 1) {
                last_unwieldy[i + __builtin_ctz(lanes)] = j;
                any_unwieldy = true;
            }
        }
    }

    void finish(i64 c) {
        squares.sum(c, d, rest);
        products.sum(c, along);
        energy.apply(d, rest, power, rare);
        S* to = dy.row(c);
        const bool constant = 2 * k.scale * k.beta == 0;
        const vd f = all(2 * k.scale * k.beta);
        for (i64 i = 0; i < pitch; i += F) {
            const Doubles a = get_doubles(x.at(c), i, tile.pixels);
            const Doubles b = get_doubles(t.at(c), i, tile.pixels);
            const auto one_vector = [&](vd own, vd tangent, i64 at) {
                const vd p = load(power + at), direct = tangent * p;
                if (constant) return direct;
                return fnma(f * own * (p / load(d + at)), load(along + at), direct);
            };
            put_doubles(to, i, tile.pixels,
                        {one_vector(a.low, b.low, i), one_vector(a.high, b.high, i + D)});
        }
        for (i64 r = 0; r < rare.count; ++r) repair(c, rare.index[r], to);
        if (any_unwieldy)
            for (i64 p = 0; p < tile.pixels; ++p)
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
    Energy<S> energy;
    Rare rare;
    i64 pitch;
    double *d = nullptr, *rest = nullptr, *power = nullptr, *along = nullptr, *column = nullptr;
    i64* last_unwieldy = nullptr;
    bool any_unwieldy = false;
};

template <class S>
bool jvp(const Tile& tile) {
    return run_in_scratch(Jvp<S>(tile));
}

}  // namespace
}  // namespace lrn

// dx[c] = g[c] D[c]^-beta - 2 scale beta x[c] * sum over m of g[m] x[m] D[m]^(-beta-1), where m
// runs over the mirrored window: the channels whose own window holds c.
#pragma once

#include "energy.hpp"
#include "window.hpp"

namespace lrn {
namespace {

template <class S, Power power>
class Vjp {
public:
    explicit Vjp(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          g(tile, second, 1),
          dx(tile),
          squares(tile, k.before, k.after),
          through(tile, k.after, k.before),
          energy(k),
          direct_depth(least(k.before + 1, tile.channels)),
          pitch(round_up(tile.pixels, F)) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        dx.place(arena);
        squares.place(arena);
        through.place(arena);
        direct = arena.take<double>(direct_depth * pitch);
        rare.place(arena, tile.pixels);
        last_rare = arena.take<i64>(tile.pixels);
        run_start = arena.take<i64>(tile.pixels);
        column = arena.take<double>(3 * tile.channels);
        work = arena.take<long double>(2 * tile.channels);
    }

    void run() {
        const i64 channels = tile.channels;
        for (i64 j = 0; j < channels + k.after + k.before; ++j) {
            if (j < channels) take_in(j);
            squares.end(j);
            const i64 m = j - k.after;
            if (m < 0) continue;
            if (m < channels) pass_back(m);
            through.end(m);
            const i64 c = m - k.before;
            if (c >= 0) finish(c);
        }
        if (any_rare)
            for (i64 p = 0; p < tile.pixels; ++p) close_run(p, channels);
    }

private:
    void take_in(i64 j) {
        x.fetch(j);
        squares.put_products(j, x.at(j), x.at(j), tile.pixels);
    }

    // The two terms in which output m's cotangent reaches dx.
    void pass_back(i64 m) {
        g.fetch(m);
        const auto sums = squares.rows(m);
        const S *own = x.at(m), *cotangent = g.at(m);
        double* kept = direct + m % direct_depth * pitch;
        const i64 n = tile.pixels;
        rare.clear();
        with_count(sums.count, [&](auto count) {
            for (i64 i = 0; i < n; i += F) {
                const Powers p = energy(sums.template at<count.value>(i));
                const Doubles a = get_doubles(own, i, n), b = get_doubles(cotangent, i, n);
                const vd low = b.low * p.power.low, high = b.high * p.power.high;
                store(kept + i, low);
                store(kept + i + D, high);
                through.put(m, i, Sum<S>::product(low, a.low * p.inverse.low),
                            Sum<S>::product(high, a.high * p.inverse.high));
                const unsigned lanes = p.rare | unwieldy<S>(a) | unwieldy<S>(b);
                if (lanes) rare.add(i, lanes, n);
            }
        });
        if (rare.any()) mark(m);
    }

    void finish(i64 c) {
        const auto sums = through.rows(c);
        const double* kept = direct + c % direct_depth * pitch;
        const S* own = x.at(c);
        S* to = dx.row(c);
        const i64 n = tile.pixels;
        const double factor = 2 * k.scale * k.beta;
        if (factor == 0) {
            for (i64 i = 0; i < n; i += F)
                put_doubles(to, i, n, {load(kept + i), load(kept + i + D)});
        } else {
            const vd f = all(factor);
            with_count(sums.count, [&](auto count) {
                for (i64 i = 0; i < n; i += F) {
                    const Pairs t = sums.template at<count.value>(i);
                    const Doubles v = get_doubles(own, i, n);
                    put_doubles(to, i, n,
                                {fnma(f * v.low, t.low.high, load(kept + i)),
                                 fnma(f * v.high, t.high.high, load(kept + i + D))});
                }
            });
        }
        dx.done(c);
        if (any_rare) follow(c);
    }

    // An output is rare where its mirrored window holds a rare element. Rare outputs are
    // gathered into runs along the channels, and a run is computed when it ends.
    void mark(i64 m) {
        if (!any_rare)
            for (i64 p = 0; p < tile.pixels; ++p) last_rare[p] = run_start[p] = -1;
        any_rare = true;
        for (i64 p : rare) last_rare[p] = m;
    }

    void follow(i64 c) {
        for (i64 p = 0; p < tile.pixels; ++p) {
            const bool is_rare = last_rare[p] >= 0 && last_rare[p] >= c - k.after;
            if (is_rare && run_start[p] < 0) run_start[p] = c;
            if (!is_rare) close_run(p, c);
        }
    }

    void close_run(i64 p, i64 end) {
        if (run_start[p] < 0) return;
        double *xs = column, *gs = xs + tile.channels, *to = gs + tile.channels;
        // Not x.column: the run may reach back beyond what the history keeps.
        for (i64 c = 0; c < tile.channels; ++c) {
            xs[c] = one(element<S>(X, c, p));
            gs[c] = one(element<S>(second, c, p));
        }
        scalar::vjp(xs, gs, tile.channels, k, run_start[p], end - 1, to, work);
        for (i64 c = run_start[p]; c < end; ++c) dx.replace(c, p, to[c]);
        run_start[p] = -1;
    }

    template <class T>
    const T* element(Operand which, i64 c, i64 p) const {
        return static_cast<const T*>(tile.data[which]) + c * tile.channel_stride[which] +
               p * tile.pixel_stride[which];
    }

    const Tile& tile;
    const Coefficients& k;
    History<S> x, g;
    Writer<S> dx;
    Window<Sum<S>> squares, through;
    Energy<S, power> energy;
    i64 direct_depth, pitch;
    double *direct = nullptr, *column = nullptr;
    long double* work = nullptr;
    Rare rare;
    i64 *last_rare = nullptr, *run_start = nullptr;
    bool any_rare = false;
};

template <class S>
bool vjp(const Tile& tile) {
    return run_for_power<Vjp, S>(tile);
}

}  // namespace
}  // namespace lrn

// The outputs of a backward pass that rare elements reach. An output is rare where its mirrored
// window holds a rare element; runs of rare outputs along the channels are computed together,
// when they end, from the inputs themselves.
#pragma once

#include "energy.hpp"
#include "rows.hpp"

namespace lrn {
namespace {

template <class S>
class RareOutputs {
public:
    explicit RareOutputs(const Tile& tile) : tile(tile), k(tile.coefficients) {}

    void place(Arena& arena) {
        last_rare = arena.take<i64>(tile.pixels);
        run_start = arena.take<i64>(tile.pixels);
        column = arena.take<double>(3 * tile.channels);
        work = arena.take<scalar::Real>(2 * tile.channels);
    }

    // Element m of these pixels is rare. Elements come in ascending order of m.
    void mark(i64 m, const Rare& rare) {
        if (!any)
            for (i64 p = 0; p < tile.pixels; ++p) last_rare[p] = run_start[p] = -1;
        any = true;
        for (i64 p : rare) last_rare[p] = m;
    }

    // Output c is done, and no element beyond c + before has been marked.
    void follow(i64 c, Writer<S>& dx) {
        if (!any) return;
        for (i64 p = 0; p < tile.pixels; ++p) {
            const bool is_rare = last_rare[p] >= 0 && last_rare[p] >= c - k.after;
            if (is_rare && run_start[p] < 0) run_start[p] = c;
            if (!is_rare) close_run(p, c, dx);
        }
    }

    void finish(Writer<S>& dx) {
        if (!any) return;
        for (i64 p = 0; p < tile.pixels; ++p) close_run(p, tile.channels, dx);
    }

private:
    void close_run(i64 p, i64 end, Writer<S>& dx) {
        if (run_start[p] < 0) return;
        double *x = column, *g = x + tile.channels, *to = g + tile.channels;
        const i64 first = most(0, run_start[p] - k.after - k.before);
        const i64 last = least(tile.channels - 1, end - 1 + k.after + k.before);
        for (i64 c = first; c <= last; ++c) {
            x[c] = one(element<S>(tile, X, c, p));
            g[c] = one(element<S>(tile, second, c, p));
        }
        scalar::vjp(x, g, tile.channels, k, run_start[p], end - 1, to, work);
        for (i64 c = run_start[p]; c < end; ++c) dx.replace(c, p, to[c]);
        run_start[p] = -1;
    }

    const Tile& tile;
    const Coefficients& k;
    i64 *last_rare = nullptr, *run_start = nullptr;
    double* column = nullptr;
    scalar::Real* work = nullptr;
    bool any = false;
};

}  // namespace
}  // namespace lrn

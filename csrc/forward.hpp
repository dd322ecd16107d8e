// y[c] = x[c] * D[c]^-beta, three ways: float arithmetic over rows, the same along lines of
// contiguous channels, and double (or double-double) arithmetic for everything else.
#pragma once

#include "energy.hpp"
#include "narrow.hpp"
#include "window.hpp"

namespace lrn {
namespace {

// ---- float arithmetic, for short windows -------------------------------------------------------

template <Power power, class S, bool around_cache>
inline void narrow_row(const NarrowRows& rows, S* to, i64 n, const Coefficients& k) {
    const NarrowEnergy<power, S> energy(k);
    // Copies that stay in registers: for all the compiler knows, a store to y changes `rows`.
    const NarrowRows near = rows;
    const float *own = rows.row[rows.own], *ahead = rows.ahead;
    const auto repair = [&](i64 i, unsigned lanes, i64 count) {
        for (; lanes; lanes &= lanes - 1) {
            const i64 lane = __builtin_ctz(lanes);
            if (lane >= count) return;
            double window[direct_width];
            for (int j = 0; j < direct_width; ++j) window[j] = double(rows.row[j][i + lane]);
            put_one(to + i + lane, scalar::forward(window, direct_width, rows.own, k));
        }
    };
    const auto part = [&](i64 i, i64 count) {
        const auto get = [&](const float* row) { return load_part(row + i, count); };
        const NarrowPowers p = energy(near, get);
        store_part(to + i, get(own) * p.power, count);
        if (p.beyond) repair(i, energy.rare(p), count);
    };

    i64 i = 0;
    if constexpr (around_cache) {
        i = least(n, i64(-std::uintptr_t(to) & (vector_bytes - 1)) / i64(sizeof(S)));
        if (i) part(0, i);
    }
    for (; i + float_lanes <= n; i += float_lanes) {
        __builtin_prefetch(ahead + i);
        const auto get = [&](const float* row) { return load(row + i); };
        const NarrowPowers p = energy(near, get);
        const vf y = get(own) * p.power;
        if constexpr (around_cache) stream(to + i, y);
        else store(to + i, y);
        if (p.beyond) repair(i, energy.rare(p), float_lanes);
    }
    if (i < n) part(i, n - i);
}

template <class S>
using NarrowRow = void (*)(const NarrowRows&, S*, i64, const Coefficients&);

template <class S, bool around_cache>
inline NarrowRow<S> narrow_row_for(Power power) {
    switch (power) {
        case Power::quarter: return narrow_row<Power::quarter, S, around_cache>;
        case Power::half: return narrow_row<Power::half, S, around_cache>;
        case Power::three_quarter: return narrow_row<Power::three_quarter, S, around_cache>;
        case Power::one: return narrow_row<Power::one, S, around_cache>;
        case Power::two: return narrow_row<Power::two, S, around_cache>;
        default: return narrow_row<Power::general, S, around_cache>;
    }
}

template <class S>
class NarrowForward {
public:
    explicit NarrowForward(const Tile& tile) : tile(tile), x(tile, X, direct_width), y(tile) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        zeros = arena.take<float>(round_up(tile.pixels, float_lanes));
    }

    void run() {
        const Coefficients& k = tile.coefficients;
        std::memset(zeros, 0, std::size_t(tile.pixels) * sizeof(float));
        bool around_cache = false;
        NarrowRow<S> compute = narrow_row_for<S, false>(tile.power);
        if constexpr (sizeof(S) == 4) {
            around_cache = tile.stream;
            if (around_cache) compute = narrow_row_for<S, true>(tile.power);
        }
        NarrowRows rows;
        rows.own = int(k.before);
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) x.fetch(j);
            const i64 c = j - k.after;
            if (c < 0) continue;
            rows_around(c, k.before, k.after, tile.channels, zeros, [&](i64 from) { return x.at(from); }, rows.row);
            rows.ahead = x.ahead(c + k.after + 1);
            // The row function writes around the cache by itself.
            compute(rows, around_cache ? y.place_of(c) : y.row(c), tile.pixels, k);
            if (!around_cache) y.done(c);
        }
    }

private:
    const Tile& tile;
    History<S, float> x;
    Writer<S> y;
    float* zeros = nullptr;
};

template <class S>
class NarrowForwardLines {
public:
    explicit NarrowForwardLines(const Tile& tile) : tile(tile) {}
    void place(Arena& arena) { line.place(arena, tile.channels); }

    void run() {
        const Coefficients& k = tile.coefficients;
        const i64 n = tile.channels;
        line.clear();
        NarrowRows rows;
        rows.own = int(k.before);
        for (i64 r = 0; r < direct_width; ++r) rows.row[r] = line.shifted(r, k.before, k.after);
        rows.ahead = line.own();
        const auto compute = narrow_row_for<S, false>(tile.power);
        for (i64 p = 0; p < tile.pixels; ++p) {
            const S* x = element<S>(tile, X, 0, p);
            for (i64 i = 0; i < n; i += float_lanes) put(line.own(), i, n, get(x, i, n));
            compute(rows, output<S>(tile, 0, p), n, k);
        }
    }

private:
    const Tile& tile;
    PaddedLine<float> line;
};

// ---- double arithmetic ---------------------------------------------------------------------------

template <class S, Power power>
class WideForward {
public:
    explicit WideForward(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          y(tile),
          squares(tile, k.before, k.after),
          energy(k) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        squares.place(arena);
        rare.place(arena, tile.pixels);
        column = arena.take<double>(least(k.before + k.after + 1, tile.channels));
    }

    void run() {
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) {
                x.fetch(j);
                squares.put_products(j, x.at(j), x.at(j), tile.pixels);
            }
            squares.end(j);
            if (j >= k.after) finish(j - k.after);
        }
    }

private:
    void finish(i64 c) {
        const auto sums = squares.rows(c);
        const S* own = x.at(c);
        S* to = y.row(c);
        const i64 n = tile.pixels;
        rare.clear();
        with_count(sums.count, [&](auto count) {
            for (i64 i = 0; i < n; i += float_lanes) {
                const bool both = n - i > double_lanes;
                const Powers p = energy(sums.template at<count.value>(i, both), both);
                const Doubles v = get_doubles(own, i, n);
                put_doubles(to, i, n, {v.low * p.power.low, v.high * p.power.high});
                if (p.rare) rare.add(i, p.rare, n);
            }
        });
        for (i64 p : rare) repair(c, p, to);
        y.done(c);
    }

    void repair(i64 c, i64 p, S* to) {
        const i64 first = most(0, c - k.before), last = least(tile.channels - 1, c + k.after);
        x.column(p, first, last, column);
        put_one(to + p, scalar::forward(column, last - first + 1, c - first, k));
    }

    const Tile& tile;
    const Coefficients& k;
    History<S> x;
    Writer<S> y;
    Window<Sum<S>> squares;
    Energy<S, power> energy;
    Rare rare;
    double* column = nullptr;
};

template <class S>
bool forward(const Tile& tile) {
    if constexpr (sizeof(S) != 8)
        if (tile.narrow)
            return tile.lines ? run_in_scratch(NarrowForwardLines<S>(tile))
                              : run_in_scratch(NarrowForward<S>(tile));
    return run_for_power<WideForward, S>(tile);
}

}  // namespace
}  // namespace lrn

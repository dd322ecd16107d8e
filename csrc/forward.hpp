// y[c] = x[c] * D[c]^-beta, three ways: float arithmetic over rows, the same along lines of
// contiguous channels, and double (or double-double) arithmetic for everything else.
#pragma once

#include "energy.hpp"
#include "window.hpp"

namespace lrn {
namespace {

// ---- float arithmetic: a window of at most direct_width channels, a short chain ------------------

// rows[0..direct_width): the window's channels (zeros where it has fewer), `own` the element's.
// R is float, or S itself where that is float.
template <Power power, class S, bool around_cache>
inline void narrow_row(const float* const* rows, int own, S* to, i64 n, const Coefficients& k) {
    const vf scale = all(float(k.scale)), bias = all(float(k.bias));
    const vf low = all(power == Power::zero ? -__builtin_inff() : 0x1p-100f);
    const vf high = all(power == Power::zero ? __builtin_inff() : 0x1p100f);
    const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3], *r4 = rows[4];
    const float* centre = rows[own];

    const auto compute = [&](vf x0, vf x1, vf x2, vf x3, vf x4, vf x, unsigned& lanes) {
        const vf sum = fma(x2, x2, fma(x4, x4, x0 * x0)) + fma(x3, x3, x1 * x1);
        const vf d = fma(sum, scale, bias);
        lanes = outside(d, low, high);
        return x * chain<power>(d);
    };
    const auto repair = [&](i64 i, unsigned lanes, i64 count) {
        for (; lanes; lanes &= lanes - 1) {
            const i64 lane = __builtin_ctz(lanes);
            if (lane >= count) return;
            double window[direct_width];
            for (int j = 0; j < direct_width; ++j) window[j] = double(rows[j][i + lane]);
            put_one(to + i + lane, scalar::forward(window, direct_width, own, k));
        }
    };
    const auto part = [&](i64 i, i64 count) {
        unsigned lanes;
        const vf y = compute(load_part(r0 + i, count), load_part(r1 + i, count),
                             load_part(r2 + i, count), load_part(r3 + i, count),
                             load_part(r4 + i, count), load_part(centre + i, count), lanes);
        store_part(to + i, y, count);
        if (lanes) repair(i, lanes, count);
    };

    i64 i = 0;
    if constexpr (around_cache) {
        i = least(n, i64(-std::uintptr_t(to) & (vector_bytes - 1)) / i64(sizeof(S)));
        if (i) part(0, i);
    }
    for (; i + F <= n; i += F) {
        unsigned lanes;
        const vf y = compute(load(r0 + i), load(r1 + i), load(r2 + i), load(r3 + i), load(r4 + i),
                             load(centre + i), lanes);
        if constexpr (around_cache) stream(to + i, y);
        else store(to + i, y);
        if (lanes) repair(i, lanes, F);
    }
    if (i < n) part(i, n - i);
}

template <class S>
using NarrowRow = void (*)(const float* const*, int, S*, i64, const Coefficients&);

template <class S, bool around_cache>
inline NarrowRow<S> narrow_row_for(Power power) {
    switch (power) {
        case Power::zero: return narrow_row<Power::zero, S, around_cache>;
        case Power::quarter: return narrow_row<Power::quarter, S, around_cache>;
        case Power::half: return narrow_row<Power::half, S, around_cache>;
        case Power::three_quarter: return narrow_row<Power::three_quarter, S, around_cache>;
        default: return narrow_row<Power::one, S, around_cache>;
    }
}

template <class S>
struct NarrowRows {
    explicit NarrowRows(const Tile& tile)
        : tile(tile), x(tile, X, direct_width), y(tile), pitch(round_up(tile.pixels, F)) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        zeros = arena.take<float>(pitch);
    }

    void run() {
        const Coefficients& k = tile.coefficients;
        const i64 channels = tile.channels;
        std::memset(zeros, 0, std::size_t(pitch) * sizeof(float));
        NarrowRow<S> compute = narrow_row_for<S, false>(tile.power);
        for (i64 j = 0; j < channels + k.after; ++j) {
            if (j < channels) x.fetch(j);
            const i64 c = j - k.after;
            if (c < 0) continue;
            const float* rows[direct_width];
            for (i64 r = 0; r < direct_width; ++r) {
                const i64 from = c - k.before + r;
                rows[r] = r > k.before + k.after || from < 0 || from >= channels ? zeros : x.at(from);
            }
            compute(rows, int(k.before), y.row(c), tile.pixels, k);
            y.done(c);
        }
    }

    const Tile& tile;
    History<S, float> x;
    Writer<S> y;
    i64 pitch;
    float* zeros = nullptr;
};

// Rows that lie in memory as they are wanted, written around the cache where that pays.
struct NarrowDirect {
    explicit NarrowDirect(const Tile& tile) : tile(tile) {}
    void place(Arena& arena) { zeros = arena.take<float>(round_up(tile.pixels, F)); }

    void run() {
        const Coefficients& k = tile.coefficients;
        std::memset(zeros, 0, std::size_t(tile.pixels) * sizeof(float));
        const auto compute = tile.stream ? narrow_row_for<float, true>(tile.power)
                                         : narrow_row_for<float, false>(tile.power);
        const float* x = static_cast<const float*>(tile.data[X]);
        float* y = static_cast<float*>(const_cast<void*>(tile.data[out]));
        for (i64 c = 0; c < tile.channels; ++c) {
            const float* rows[direct_width];
            for (i64 r = 0; r < direct_width; ++r) {
                const i64 from = c - k.before + r;
                rows[r] = r > k.before + k.after || from < 0 || from >= tile.channels
                              ? zeros
                              : x + from * tile.channel_stride[X];
            }
            compute(rows, int(k.before), y + c * tile.channel_stride[out], tile.pixels, k);
        }
    }

    const Tile& tile;
    float* zeros = nullptr;
};

// Contiguous channels: a pixel's line with zeros around it, read at shifted places.
template <class S>
struct NarrowLines {
    static_assert(direct_width - 1 <= F);
    explicit NarrowLines(const Tile& tile) : tile(tile) {}
    void place(Arena& arena) {
        line = arena.take<float>(tile.channels + 2 * F);
        zeros = arena.take<float>(tile.channels);
    }

    void run() {
        const Coefficients& k = tile.coefficients;
        const i64 n = tile.channels;
        float* own = line + F;  // room for the longest window on both sides
        std::memset(line, 0, std::size_t(n + 2 * F) * sizeof(float));
        std::memset(zeros, 0, std::size_t(n) * sizeof(float));
        const float* rows[direct_width];
        for (i64 r = 0; r < direct_width; ++r)
            rows[r] = r > k.before + k.after ? zeros : own - k.before + r;
        const auto compute = narrow_row_for<S, false>(tile.power);
        for (i64 p = 0; p < tile.pixels; ++p) {
            const S* x = static_cast<const S*>(tile.data[X]) + p * tile.pixel_stride[X];
            S* y = static_cast<S*>(const_cast<void*>(tile.data[out])) + p * tile.pixel_stride[out];
            for (i64 i = 0; i < n; i += F) put(own, i, n, get(x, i, n));
            compute(rows, int(k.before), y, n, k);
        }
    }

    const Tile& tile;
    float* line = nullptr;
    float* zeros = nullptr;
};

// ---- double arithmetic ---------------------------------------------------------------------------

template <class S>
struct WideForward {
    explicit WideForward(const Tile& tile)
        : tile(tile),
          x(tile, X, tile.coefficients.before + tile.coefficients.after + 1),
          y(tile),
          squares(tile, tile.coefficients.before, tile.coefficients.after),
          energy(tile),
          pitch(round_up(tile.pixels, F)) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        squares.place(arena);
        d = arena.take<double>(pitch);
        rest = arena.take<double>(pitch);
        power = arena.take<double>(pitch);
        rare.place(arena, tile.pixels);
        column = arena.take<double>(tile.channels);
    }

    void run() {
        const Coefficients& k = tile.coefficients;
        const i64 n = tile.pixels;
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) {
                x.fetch(j);
                squares.put_products(j, x.at(j), x.at(j), n);
            }
            squares.ready(j);
            const i64 c = j - k.after;
            if (c < 0) continue;
            squares.sum(c, d, rest);
            energy.apply(d, rest, power, rare);
            const S* own = x.at(c);
            S* to = y.row(c);
            for (i64 i = 0; i < pitch; i += F) {
                const Doubles v = get_doubles(own, i, n);
                put_doubles(to, i, n, {v.low * load(power + i), v.high * load(power + i + D)});
            }
            for (i64 r = 0; r < rare.count; ++r) repair(c, rare.index[r], to);
            y.done(c);
        }
    }

    void repair(i64 c, i64 p, S* to) {
        const Coefficients& k = tile.coefficients;
        const i64 first = most(0, c - k.before), last = least(tile.channels - 1, c + k.after);
        x.column(p, first, last, column);
        put_one(to + p, scalar::forward(column, last - first + 1, c - first, k));
    }

    const Tile& tile;
    History<S> x;
    Writer<S> y;
    Window<Sum<S>> squares;
    Energy<S> energy;
    Rare rare;
    i64 pitch;
    double *d = nullptr, *rest = nullptr, *power = nullptr, *column = nullptr;
};

template <class S>
bool forward(const Tile& tile) {
    if constexpr (sizeof(S) != 8) {
        if (tile.narrow) {
            constexpr i64 shortest_line = 16;
            if (tile.channel_stride[X] == 1 && tile.channel_stride[out] == 1 &&
                tile.channels >= shortest_line)
                return run_in_scratch(NarrowLines<S>(tile));
            if constexpr (sizeof(S) == 4)
                if (tile.pixel_stride[X] == 1 && tile.pixel_stride[out] == 1 && !tile.in_place)
                    return run_in_scratch(NarrowDirect(tile));
            return run_in_scratch(NarrowRows<S>(tile));
        }
    }
    return run_in_scratch(WideForward<S>(tile));
}

}  // namespace
}  // namespace lrn

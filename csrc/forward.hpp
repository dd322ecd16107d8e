// y[c] = x[c] * D[c]^-beta, three ways: float arithmetic over rows, the same along lines of
// contiguous channels, and double (or double-double) arithmetic for everything else.
#pragma once

#include "careful.hpp"
#include "energy.hpp"
#include "grouped.hpp"
#include "narrow.hpp"
#include "scaled.hpp"
#include "whole.hpp"
#include "window.hpp"

namespace lrn {
namespace {

// ---- float arithmetic, for short windows -------------------------------------------------------

// What scalar.cpp needs for an element of a row.
struct NarrowScalar {
    const NarrowRows& rows;
    const Coefficients& k;
};
inline double scalar_forward(const void* kernel, i64, i64 p) {
    const NarrowScalar& row = *static_cast<const NarrowScalar*>(kernel);
    double window[direct_width];
    for (int j = 0; j < direct_width; ++j) window[j] = double(row.rows.row[j][p]);
    return scalar::forward(window, direct_width, row.rows.own, row.k);
}

// The lanes whose window holds nothing but zeros. Where the activations before are mostly zero, so are
// most windows, and D is bias without another sum.
[[gnu::noinline]] unsigned windows_of_zeros(const NarrowRows& rows, i64 i, i64 n) {
    vu bits{};
    for (const float* row : rows.row) bits |= bits_of<vu>(get(row, i, n));
    return ~lanes_above(bits_of<vi>(bits & 0x7fffffff), 0);
}

// y, with the lanes whose D cannot be trusted computed anew.
template <Power power>
[[gnu::noinline]] vf rare_forward(vf y, vf d, unsigned lanes, const NarrowRows& rows, i64 i, i64 n, const Numbers& numbers) {
    const auto at = [&](const float* row) { return get(row, i, n); };
    const vf own = at(rows.row[rows.own]);
    if (numbers.k.bias == 0 && numbers.wide.low < 1 && !(lanes & ~windows_of_zeros(rows, i, n)))
        return d == 0 ? own * float(numbers.at_zero) : y;
    const NarrowScalar scalar{rows, numbers.k};
    const Doubles wide = NarrowEnergy<power, float>(numbers).wide_energy(rows, at);
    return careful_forward<power>(y, own, d, wide, numbers, {scalar_forward, &scalar, 0, i});
}

// Of `count` channels, whose rows lie `step` elements apart: more than one only where every row of
// their windows does. Windows of fewer rows have zeros in the last ones, which stay.
struct Run {
    i64 count, step, step_out, moving;
};

template <Power power, class S, bool around_cache>
inline void narrow_row(NarrowRows& rows, S* to, i64 n, const Numbers& numbers, const Run& run) {
    const NarrowEnergy<power, S> energy(numbers);
    // A copy that stays in registers: for all the compiler knows, a store to y changes `rows`.
    NarrowRows near = rows;
    for (i64 c = 0;;) {
        const float *own = near.row[near.own], *ahead = near.ahead;
        const auto compute = [&](i64 i, auto get) {
            const NarrowPowers p = energy(near, get);
            vf y = get(own) * p.power;
            if (p.beyond) [[unlikely]] y = rare_forward<power>(y, p.d, p.beyond, rows, i, n, numbers);
            return y;
        };
        const auto part = [&](i64 i, i64 count) {
            store_part(to + i, compute(i, [&](const float* row) { return load_part(row + i, count); }), count);
        };

        // Around the cache go whole lines of it alone: what shares a line with other stores would be written twice.
        i64 i = 0, last = 0;
        if constexpr (around_cache) {
            const i64 first = least(n, bytes_to_line(to) / i64(sizeof(S)));
            for (; i < first; i += least(first - i, float_lanes)) part(i, least(first - i, float_lanes));
            last = n - (n - first) % (line_bytes / i64(sizeof(S)));
        }
        for (; i + float_lanes <= n; i += float_lanes) {
            __builtin_prefetch(ahead + i);
            const vf y = compute(i, [&](const float* row) { return load(row + i); });
            if constexpr (around_cache) {
                if (i < last) {
                    stream(to + i, y);
                    continue;
                }
            }
            store(to + i, y);
        }
        if (i < n) part(i, n - i);
        if (around_cache || ++c >= run.count) return;
        for (i64 r = 0; r < run.moving; ++r) rows.row[r] += run.step;
        rows.ahead += run.step;
        near = rows;
        to += run.step_out;
    }
}

template <class S>
using NarrowRow = void (*)(NarrowRows&, S*, i64, const Numbers&, const Run&);

template <class S, bool around_cache>
inline NarrowRow<S> narrow_row_for(Power power) {
    switch (power) {
        case Power::quarter: return narrow_row<Power::quarter, S, around_cache>;
        case Power::half: return narrow_row<Power::half, S, around_cache>;
        case Power::three_quarter: return narrow_row<Power::three_quarter, S, around_cache>;
        case Power::one: return narrow_row<Power::one, S, around_cache>;
        case Power::five_quarter: return narrow_row<Power::five_quarter, S, around_cache>;
        case Power::three_half: return narrow_row<Power::three_half, S, around_cache>;
        case Power::seven_quarter: return narrow_row<Power::seven_quarter, S, around_cache>;
        case Power::two: return narrow_row<Power::two, S, around_cache>;
        case Power::three: return narrow_row<Power::three, S, around_cache>;
        case Power::steep: return narrow_row<Power::steep, S, around_cache>;
        default: return narrow_row<Power::general, S, around_cache>;
    }
}

template <class S>
class NarrowForward {
public:
    explicit NarrowForward(const Tile& tile)
        : tile(tile), numbers(tile.coefficients, tile.power, false), x(tile, X, direct_width), y(tile) {}

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
        const i64 window = k.before + k.after + 1;
        for (i64 j = 0; j < tile.channels + k.after; ++j) {
            if (j < tile.channels) x.fetch(j);
            const i64 c = j - k.after;
            if (c < 0) continue;
            rows_around(c, k.before, k.after, tile.channels, zeros, [&](i64 from) { return x.at(from); }, rows.row);
            rows.ahead = x.ahead(c + k.after + 1);
            Run run{1, 0, 0, 0};
            i64 n = tile.pixels;
            if (n <= short_row && !around_cache && x.in_place() && y.in_place() && c >= k.before && j < tile.channels - 2) {
                // Rows this short are over before the next one's numbers are set up.
                run = {tile.channels - 1 - j, tile.channel_stride[X], tile.channel_stride[out], window};
                j += run.count - 1;
                if (window == direct_width && run.step == n && run.step_out == n) {
                    // They lie behind each other, as the rows of their windows do: one long row.
                    n *= run.count;
                    run.count = 1;
                }
            }
            compute(rows, y.row(c), n, numbers, run);
            y.done(c);
        }
    }

private:
    static constexpr i64 short_row = 128;

    const Tile& tile;
    const Numbers numbers;
    History<S, float> x;
    Writer<S> y;
    float* zeros = nullptr;
};

template <class S>
class NarrowForwardLines {
public:
    explicit NarrowForwardLines(const Tile& tile)
        : tile(tile), numbers(tile.coefficients, tile.power, false), y(tile) {}

    void place(Arena& arena) {
        line.place(arena, tile.channels);
        y.place(arena);
    }

    void run() {
        const Coefficients& k = tile.coefficients;
        line.clear();
        NarrowRows rows;
        rows.own = int(k.before);
        for (i64 r = 0; r < direct_width; ++r) rows.row[r] = line.shifted(r, k.before, k.after);
        rows.ahead = line.own();
        const NarrowRow<S> compute = narrow_row_for<S, false>(tile.power);
        const i64 n = tile.channels;
        for (i64 p = 0; p < tile.pixels; ++p) {
            const S* x = element<S>(tile, X, 0, p);
            for (i64 i = 0; i < n; i += float_lanes) put(line.own(), i, n, get(x, i, n));
            compute(rows, y.line(p), n, numbers, {1, 0, 0, 0});
            y.done(p);
        }
    }

private:
    const Tile& tile;
    const Numbers numbers;
    LineWriter<S> y;
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
          energy(k),
          scaled(k) {}

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
                if (p.rare) [[unlikely]] finish_rare(c, i, p.rare, v, to);
            }
        });
        for (i64 p : rare) repair(c, p, to);
        y.done(c);
    }

    // The lanes left for scalar.cpp are noted.
    void finish_rare(i64 c, i64 i, unsigned lanes, Doubles own, S* to) {
        if constexpr (sizeof(S) == 8) {
            const i64 first = most(0, c - k.before), last = least(tile.channels - 1, c + k.after), n = tile.pixels;
            const vd low = scaled(own.low, first, last, [&](i64 j) { return get_doubles(x.at(j), i, n).low; });
            const vd high = scaled(own.high, first, last, [&](i64 j) { return get_doubles(x.at(j), i, n).high; });
            for (int l = 0; l < float_lanes && i + l < n; ++l) {
                if (!(lanes >> l & 1)) continue;
                to[i + l] = l < double_lanes ? low[l] : high[l - double_lanes];
                // Zeros over zeros are nan in earnest; of all other nan scalar.cpp tells what they are.
                if (to[i + l] == to[i + l] || is_zero(c, i + l)) lanes &= ~(1u << l);
            }
        }
        if (lanes) rare.add(i, lanes, tile.pixels);
    }

    // Whether D is 0.
    bool is_zero(i64 c, i64 p) const {
        bool zero = k.bias == 0 && k.beta > 0;
        for (i64 j = most(0, c - k.before); zero && j <= least(tile.channels - 1, c + k.after); ++j) zero = x.at(j)[p] == 0;
        return zero;
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
    ScaledForward scaled;
    Rare rare;
    double* column = nullptr;
};

template <class S>
bool forward(const Tile& tile) {
    if (tile.whole) return run_in_scratch(WholeAxis<S, Whole::forward>(tile));
    if constexpr (sizeof(S) != 8) {
        if (tile.narrow)
            return tile.lines ? run_in_scratch(NarrowForwardLines<S>(tile))
                              : run_in_scratch(NarrowForward<S>(tile));
        if (tile.grouped) return run_in_scratch(GroupedForward<S>(tile));
        return run_in_scratch(WideForward<S, Power::any>(tile));
    } else {
        return run_for_power<WideForward, S>(tile);
    }
}

}  // namespace
}  // namespace lrn

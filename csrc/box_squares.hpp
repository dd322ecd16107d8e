// Sums of squares over boxes. Where the accuracy promised leaves room for it, squares and the first
// sums are taken in float: five lines at most, or runs of eight lanes, four roundings in all. What
// follows is double, and rounding D to float is the fifth.
#pragma once

#include "box_sums.hpp"

namespace lrn {
namespace {

// The sum of up to five squares, in a tree: get(r) is a vector of the r-th line.
template <int count, class Get>
inline vf sum_of_squares(Get get) {
    const vf a = get(0), b = get(1);
    if constexpr (count == 2) return fma(b, b, a * a);
    const vf c = get(2);
    if constexpr (count == 3) return fma(c, c, fma(b, b, a * a));
    const vf d = get(3);
    vf one = fma(c, c, a * a), other = fma(d, d, b * b);
    if constexpr (count == 5) {
        const vf e = get(4);
        one = fma(e, e, one);
    }
    return one + other;
}

// Calls body with how many squares they are.
template <class Body>
inline void with_squares(i64 count, Body body) {
    if (count == 5) body(Count<5>{});
    else if (count == 4) body(Count<4>{});
    else if (count == 3) body(Count<3>{});
    else body(Count<2>{});
}

template <class S>
class BoxSquares {
    using A = Sum<S>;

public:
    explicit BoxSquares(const BoxTile& tile)
        : tile(tile),
          window(tile, false),
          n(tile.lanes),
          pitch(round_up(n, float_lanes)),
          along_line(tile.inner_axes == 0),
          before(along_line ? tile.lane_before : tile.narrow ? tile.inner[0].before : 0),
          width(before + (along_line ? tile.lane_after : tile.narrow ? tile.inner[0].after : 0) + 1),
          margin(round_up(before, float_lanes)),
          length(margin + pitch + round_up(width - before, float_lanes) + 2 * float_lanes) {}

    void place(Arena& arena) {
        window.place(arena);
        if (!tile.narrow) return;
        if (along_line) line = arena.take<float>(lines() * length) + margin;
        else zeros = arena.take<S>(pitch);
    }

    void begin() {
        window.begin();
        if (!tile.narrow) return;
        if (along_line) std::memset(line - margin, 0, std::size_t(lines() * length) * sizeof(float));
        else std::memset(static_cast<void*>(zeros), 0, std::size_t(pitch) * sizeof(S));
    }

    void take_in(i64 j, const BoxReader<S>& x) {
        if constexpr (sizeof(S) == 4) {
            if (tile.narrow) {
                if (!along_line) across_lines(j, x);
                else if (width <= direct_width) short_line(j, x.line(j, 0));
                else long_line(j, x.line(j, 0));
                return;
            }
        }
        window.take_in(j, [&](i64 cell) { return products<A>(x.line(j, cell), x.line(j, cell), n); });
    }

    void end(i64 j) { window.end(j); }
    typename BoxRing<A>::Rows rows(i64 c) const { return window.rows(c); }

private:
    i64 lines() const { return width <= direct_width ? 1 : 4; }

    template <class Get>
    void short_sums(i64 j, i64 at, Get get) {
        with_squares(width, [taker = window.row_of(j), end = pitch, at, get](auto count) {
            for (i64 i = 0; i < end; i += float_lanes) {
                const Doubles sum = widen(sum_of_squares<count.value>([&](int r) { return get(r, i); }));
                put_doubles(taker, at + i, sum.low, sum.high);
            }
        });
    }

    template <class Taker>
    static void put_doubles(Taker taker, i64 i, vd low, vd high) {
        if constexpr (A::parts == 1) taker.put(i, A{low}, A{high});
    }

    LRN_LOOP void short_line(i64 j, const S* x) {
        std::memcpy(line, x, std::size_t(n) * sizeof(S));
        const float* from = line - before;
        short_sums(j, 0, [from](int r, i64 i) { return load(from + r + i); });
    }

    LRN_LOOP void across_lines(i64 j, const BoxReader<S>& x) {
        struct {
            const S* line[direct_width];
        } around;
        for (i64 cell = 0; cell < tile.cells; ++cell) {
            for (i64 r = 0; r < direct_width; ++r) {
                const i64 from = cell - before + r;
                around.line[r] = r >= width || from < 0 || from >= tile.cells ? zeros : x.line(j, from);
            }
            short_sums(j, cell * pitch, [around, n = n](int r, i64 i) { return get(around.line[r], i, n); });
        }
    }

    // Runs of four and eight lanes in float, and of eight, one after the other, the boxes in double. What
    // begins at lane i has its place at i.
    //
    //     width 31, before 15:   lane i has the runs of 8 8 8 4 2 1 lanes that begin at
    //                            i - 15, i - 7, i + 1, i + 9, i + 13, i + 15
    // The last three are added in float, too.
    LRN_LOOP void long_line(i64 j, const S* x) {
        const i64 n = this->n, pitch = this->pitch, length = this->length;
        float *const ones = line, *const fours = ones + length, *const eights = fours + length;
        const float* const nothing = eights + length;
        const auto square = [](vf v) { return v * v; };
        i64 i = 0;
        for (; i + float_lanes <= n; i += float_lanes) store(ones + i, square(load(x + i)));
        if (i < n) store(ones + i, square(load_part(x + i, n - i)));
        const auto four_from = [](const float* p) { return (load(p) + load(p + 1)) + (load(p + 2) + load(p + 3)); };
        for (i64 i = -round_up(least(before, 7), float_lanes); i < pitch; i += float_lanes) {  // all others are zero
            const vf four = four_from(ones + i);
            store(fours + i, four);
            store(eights + i, four + four_from(ones + i + 4));
        }
        const auto taker = window.row_of(j);
        const i64 whole = width / 8 * 8;
        i64 at = whole - before;
        const auto rest = [&](const float* runs, i64 lanes) {
            const float* run = width & lanes ? runs + at : nothing;
            if (width & lanes) at += lanes;
            return run;
        };
        const float *const four = rest(fours, 4), *const two = rest(ones, 2), *const one = rest(ones, 1);
        const float* const eight = eights - before;
        for (i64 i = 0; i < pitch; i += float_lanes) {
            Doubles sum = widen(load(four + i) + ((load(two + i) + load(two + 1 + i)) + load(one + i)));
            for (i64 k = 0; k < whole; k += 8) sum = sum + load_doubles(eight + k + i);
            put_doubles(taker, i, sum.low, sum.high);
        }
    }

    const BoxTile& tile;
    BoxWindow<A> window;
    i64 n, pitch;
    bool along_line;
    i64 before, width, margin, length;  // the margin before a line of that length is zero, as is what lies behind it
    float* line = nullptr;
    S* zeros = nullptr;
};

}  // namespace
}  // namespace lrn

// Sums of squares over boxes. Where the accuracy promised leaves room for it, squares and the first
// sums are taken in float: five lines at most, or runs of as many lanes as a vector of doubles has,
// four roundings in all. What follows is double, and rounding D to float is the fifth.
#pragma once

#include "box_sums.hpp"

namespace lrn {
namespace {

template <class S>
class BoxSquares {
    using A = Sum<S>;

public:
    explicit BoxSquares(const BoxTile& tile)
        : tile(tile),
          window(tile, false),
          n(tile.lanes),
          pitch(round_up(n, float_lanes)),
          length(pitch + 4 * float_lanes),
          along_line(tile.inner_axes == 0),
          before(along_line ? tile.lane_before : tile.narrow ? tile.inner[0].before : 0),
          width(before + (along_line ? tile.lane_after : tile.narrow ? tile.inner[0].after : 0) + 1),
          vectors((n - 1 + before % double_lanes) / double_lanes + 2) {}

    void place(Arena& arena) {
        window.place(arena);
        if (!tile.narrow) return;
        line = arena.take<float>(length) + float_lanes;
        zeros = arena.take<S>(pitch);
        runs = arena.take<double>(double_lanes * vectors);
        ends = arena.take<double>(double_lanes * vectors);
        sums = arena.take<double>(pitch);
    }

    void begin() {
        window.begin();
        if (!tile.narrow) return;
        std::memset(line - float_lanes, 0, std::size_t(length) * sizeof(float));
        std::memset(static_cast<void*>(zeros), 0, std::size_t(pitch) * sizeof(S));
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
    // The sum of up to five squares, in a tree: get(r) is a vector of the r-th line.
    template <int count, class Get>
    static vf squares(Get get) {
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

    template <class Get>
    void short_sums(i64 j, i64 at, Get get) {
        const auto all_of = [taker = window.row_of(j), end = pitch, at, get](auto count) {
            for (i64 i = 0; i < end; i += float_lanes) {
                const Doubles sum = widen(squares<count.value>([&](int r) { return get(r, i); }));
                put_doubles(taker, at + i, sum.low, sum.high);
            }
        };
        if (width == 5) all_of(Count<5>{});
        else if (width == 4) all_of(Count<4>{});
        else if (width == 3) all_of(Count<3>{});
        else all_of(Count<2>{});
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

    // The sum of `count` neighbours, from each of half a vector of places on, in a tree.
    template <int count>
    static vf_half run_of(const float* p) {
        if constexpr (count == 1) return load_raw<vf_half>(p);
        else return run_of<count / 2>(p) + run_of<count / 2>(p + count / 2);
    }

    // What is left of the width: runs of 4, 2 and 1.
    template <int count = double_lanes / 2>
    static vd rest_of(const float* p, i64 rest, vd sum) {
        if (rest & count) {
            sum += __builtin_convertvector(run_of<count>(p), vd);
            p += count;
        }
        if constexpr (count > 1) return rest_of<count / 2>(p, rest, sum);
        else return sum;
    }

    // As LaneSums::wide, the runs added in float.
    LRN_LOOP void long_line(i64 j, const S* x) {
        const i64 whole = width / double_lanes, rest = width % double_lanes, shift = before % double_lanes;
        const i64 n = this->n, pitch = this->pitch, vectors = this->vectors, behind = before / double_lanes;
        float* const line = this->line;
        double *const runs = this->runs, *const sums = this->sums;
        for (i64 i = 0; i < n; i += float_lanes) {
            const vf v = get(x, i, n);
            store(line + i, v * v);
        }
        for (i64 u = 0; u < vectors; ++u)
            store(runs + u * double_lanes, __builtin_convertvector(run_of<double_lanes>(line + (u - 1) * double_lanes - shift), vd));
        slide<Single>(
            vectors, behind - 1, whole, pitch / double_lanes, ends, [=](i64 u) { return Single{load(runs + u * double_lanes)}; },
            [=](i64 v, Single sum) { store(sums + v * double_lanes, sum.sum); });
        const auto taker = window.row_of(j);
        const auto complete = [=](i64 v) {
            const vd sum = load(sums + v * double_lanes);
            const i64 from = (v - behind + whole) * double_lanes - shift;
            return rest && from > -2 * double_lanes && from < n ? rest_of(line + from, rest, sum) : sum;
        };
        for (i64 v = 0; v < pitch / double_lanes; v += 2) {
            const vd low = complete(v);
            put_doubles(taker, v * double_lanes, low, complete(v + 1));
        }
    }

    const BoxTile& tile;
    BoxWindow<A> window;
    i64 n, pitch, length;
    bool along_line;
    i64 before, width, vectors;
    float* line = nullptr;
    S* zeros = nullptr;
    double *runs = nullptr, *ends = nullptr, *sums = nullptr;
};

}  // namespace
}  // namespace lrn

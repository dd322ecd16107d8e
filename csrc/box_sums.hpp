// Sums over boxes, by additions only: first along each line, then along the inner axes, then from
// row to row in a ring.
#pragma once

#include "box_ring.hpp"
#include "box_rows.hpp"

namespace lrn {
namespace {

template <class A>
struct Two {  // as many sums as there are floats in a vector
    A low, high;
};

// Calls sink(v, sum of the entries v - before … v - before + width - 1) for v = 0 … outputs - 1.
// There are `count` entries, entry(u) loads one, what lies outside them is zero. Wide windows are
// the end of one block and the beginning of the next; `ends` has room for `count` vectors.
//
//     width 4, before 1:   | 0 1 2 3 | 4 5 6 7 |     v = 3: ends(2) = 2 + 3, and the beginning 4 + 5
template <class A, class Entry, class Sink>
inline void slide(i64 count, i64 before, i64 width, i64 outputs, double* ends, Entry entry, Sink sink) {
    if (width <= direct_width) {
        for (i64 v = 0; v < outputs; ++v) {
            const i64 first = most(v - before, 0), last = least(v - before + width, count);
            A sum = first < last ? entry(first) : A{};
            for (i64 u = first + 1; u < last; ++u) sum = sum + entry(u);
            sink(v, sum);
        }
        return;
    }
    constexpr i64 step = A::parts * double_lanes;
    A beginning{};
    i64 v = least(before, 0);
    const auto put_next = [&](A sum) {
        if (v >= 0) sink(v, sum);
        ++v;
    };
    for (i64 u = 0; u < width - 1 - before && u < count; ++u) beginning = beginning + entry(u);
    while (v < before && v < outputs) {  // these windows begin before the first entry
        const i64 last = v - before + width - 1;
        if (last >= 0 && last < count) beginning = beginning + entry(last);
        put_next(beginning);
    }
    for (i64 block = 0; block < count && v < outputs; block += width) {
        const i64 end = least(block + width, count);
        i64 u = end - 1;
        A run = entry(u);
        run.store(ends + u * step, double_lanes);
        while (--u >= block) {
            run = entry(u) + run;
            run.store(ends + u * step, double_lanes);
        }
        put_next(run);
        beginning = A{};
        const i64 last = least(end, outputs - before), growing = least(last, count - width + 1);
        i64 first = block + 1;
        for (; first < growing; ++first) {
            beginning = beginning + entry(first + width - 1);
            put_next(A::load(ends + first * step, double_lanes) + beginning);
        }
        for (; first < last; ++first) put_next(A::load(ends + first * step, double_lanes) + beginning);
    }
    while (v < outputs) put_next(A{});
}

// Sums along a line of n lanes. Short windows add shifted lines. Wide ones add whole vectors, each
// lane already the sum of as many successors as a vector has lanes, and what is left of the width.
template <class A>
class LaneSums {
public:
    LaneSums(i64 n, i64 before, i64 after)
        : width(before + after + 1),
          n(n),
          pitch(round_up(n, float_lanes)),
          before(before),
          length(pitch + 3 * float_lanes),
          vectors((n - 1 + before % double_lanes) / double_lanes + 2) {}

    void place(Arena& arena) {
        if (width == 1) return;
        line = arena.take<double>(A::parts * length) + float_lanes;
        if (width <= direct_width) return;
        twos = arena.take<double>(A::parts * length) + float_lanes;
        runs = arena.take<double>(A::parts * double_lanes * vectors);
        ends = arena.take<double>(A::parts * double_lanes * vectors);
        sums = arena.take<double>(A::parts * pitch);
    }

    void begin() {
        if (width == 1) return;
        std::memset(line - float_lanes, 0, std::size_t(A::parts * length) * sizeof(double));
    }

    // What puts the terms of a vector of floats.
    auto putter() const {
        return [to = line, apart = length](i64 i, Two<A> terms) {
            terms.low.store(to + i, apart);
            terms.high.store(to + i + double_lanes, apart);
        };
    }

    // Calls sink(i, low, high) for each vector of floats once all terms are put.
    template <class Sink>
    void sum(Sink sink) {
        for (i64 part = 0; part < A::parts; ++part)
            std::memset(line + part * length + n, 0, std::size_t(pitch - n) * sizeof(double));
        if (width == 3) direct<3>(sink);
        else if (width == 5) direct<5>(sink);
        else if (width <= direct_width) direct<0>(sink);
        else wide(sink);
    }

    const i64 width;

private:
    template <int fixed, class Sink>
    void direct(Sink sink) {
        const int count = fixed ? fixed : int(width);
        const double* from = line - before;
        const i64 end = pitch, apart = length;
        const auto one = [=](i64 i) {
            A sum = A::load(from + i, apart);
            for (int k = 1; k < count; ++k) sum = sum + A::load(from + i + k, apart);
            return sum;
        };
        for (i64 i = 0; i < end; i += float_lanes) sink(i, one(i), one(i + double_lanes));
    }

    template <class Sink>
    void wide(Sink sink) {
        const i64 whole = width / double_lanes, rest = width % double_lanes, shift = before % double_lanes;
        double *const line = this->line, *const twos = this->twos, *const runs = this->runs;
        const i64 n = this->n, length = this->length, behind = before / double_lanes, end = pitch + float_lanes;
        const auto at = [=](const double* from, i64 i) { return A::load(from + i, length); };
        for (i64 i = -float_lanes; i < end; i += double_lanes) (at(line, i) + at(line, i + 1)).store(twos + i, length);
        for (i64 u = 0, count = vectors; u < count; ++u) {
            const i64 from = (u - 1) * double_lanes - shift;
            A sum = at(twos, from);
            for (i64 l = 2; l < double_lanes; l += 2) sum = sum + at(twos, from + l);
            sum.store(runs + u * A::parts * double_lanes, double_lanes);
        }
        double* const sums = this->sums;
        slide<A>(
            vectors, behind - 1, whole, pitch / double_lanes, ends,
            [=](i64 u) { return A::load(runs + u * A::parts * double_lanes, double_lanes); },
            [=](i64 v, A sum) { sum.store(sums + v * A::parts * double_lanes, double_lanes); });
        const auto complete = [=](i64 v) {
            A sum = A::load(sums + v * A::parts * double_lanes, double_lanes);
            const i64 from = (v - behind + whole) * double_lanes - shift;
            if (rest && from > -2 * double_lanes && from < n) {
                for (i64 l = 0; l + 1 < rest; l += 2) sum = sum + at(twos, from + l);
                if (rest % 2) sum = sum + at(line, from + rest - 1);
            }
            return sum;
        };
        for (i64 v = 0; v < this->pitch / double_lanes; v += 2) {
            const A low = complete(v);
            sink(v * double_lanes, low, complete(v + 1));
        }
    }

    i64 n, pitch, before, length, vectors;
    double *line = nullptr, *twos = nullptr, *runs = nullptr, *ends = nullptr, *sums = nullptr;
};

// The sums over the boxes around the elements of one row after the other. `mirrored` boxes are
// those of the elements whose own box holds this one.
template <class A>
class BoxWindow {
public:
    BoxWindow(const BoxTile& tile, bool mirrored)
        : tile(tile),
          mirrored(mirrored),
          pitch(round_up(tile.lanes, float_lanes)),
          lane(tile.lanes, mirrored ? tile.lane_after : tile.lane_before,
               mirrored ? tile.lane_before : tile.lane_after),
          ring(tile.rows, tile.cells * round_up(tile.lanes, float_lanes),
               mirrored ? tile.coefficients.after : tile.coefficients.before,
               mirrored ? tile.coefficients.before : tile.coefficients.after) {
        for (int a = 0; a < tile.inner_axes; ++a) longest = most(longest, tile.inner[a].size);
    }

    void place(Arena& arena) {
        lane.place(arena);
        ring.place(arena);
        if (tile.inner_axes == 0) return;
        row = arena.take<double>(A::parts * tile.cells * pitch);
        column = arena.take<double>(A::parts * double_lanes * longest);
        ends = arena.take<double>(A::parts * double_lanes * longest);
    }

    void begin() {
        lane.begin();
        ring.begin();
    }

    // line(cell) gives a function of i, the index of a vector of floats, whose values are the terms of that line.
    template <class Line>
    void take_in(i64 j, Line line) {
        const auto taker = ring.row(j);
        for (i64 cell = 0; cell < tile.cells; ++cell) {
            const auto terms = line(cell);
            if (tile.inner_axes == 0) {
                along(terms, [taker](i64 i, A low, A high) { taker.put(i, low, high); });
            } else {
                double* to = row + cell * pitch;
                const i64 length = row_length();
                along(terms, [to, length](i64 i, A low, A high) {
                    low.store(to + i, length);
                    high.store(to + i + double_lanes, length);
                });
            }
        }
        if (tile.inner_axes == 0) return;
        i64 step = row_length();
        for (int a = 0; a < tile.inner_axes; ++a) slide_along(a, step);
        const double* from = row;
        for (i64 i = 0, length = row_length(); i < length; i += float_lanes)
            taker.put(i, A::load(from + i, length), A::load(from + i + double_lanes, length));
    }

    // Takes sums along the line and the inner axes that are known already.
    typename BoxRing<A>::Taker row_of(i64 j) const { return ring.row(j); }

    void end(i64 j) { ring.end(j); }
    typename BoxRing<A>::Rows rows(i64 c) const { return ring.rows(c); }

private:
    i64 row_length() const { return tile.cells * pitch; }

    template <class Terms, class Sink>
    LRN_LOOP void along(const Terms& terms, Sink sink) {
        const i64 end = pitch;
        if (lane.width == 1) {
            for (i64 i = 0; i < end; i += float_lanes) {
                const Two<A> t = terms(i);
                sink(i, t.low, t.high);
            }
            return;
        }
        const auto putter = lane.putter();
        for (i64 i = 0; i < end; i += float_lanes) putter(i, terms(i));
        lane.sum(sink);
    }

    // step: elements from one index of the axis before to the next, then of this one.
    LRN_LOOP void slide_along(int a, i64& step) {
        const BoxAxis& axis = tile.inner[a];
        const i64 group = step;
        step /= axis.size;
        const i64 before = mirrored ? axis.after : axis.before;
        for (i64 begin = 0; begin < row_length(); begin += group)
            for (i64 i = begin; i < begin + step; i += double_lanes) {
                double *const from = row + i, *const line = column;
                const i64 apart = step, length = row_length(), size = axis.size;
                for (i64 u = 0; u < size; ++u)
                    A::load(from + u * apart, length).store(line + u * A::parts * double_lanes, double_lanes);
                slide<A>(
                    size, before, axis.before + axis.after + 1, size, ends,
                    [line](i64 u) { return A::load(line + u * A::parts * double_lanes, double_lanes); },
                    [=](i64 v, A sum) { sum.store(from + v * apart, length); });
            }
    }

    const BoxTile& tile;
    bool mirrored;
    i64 pitch, longest = 0;
    LaneSums<A> lane;
    BoxRing<A> ring;
    double *row = nullptr, *column = nullptr, *ends = nullptr;
};

// The terms of the products of two lines of n inputs.
template <class A, class S>
inline auto products(const S* a, const S* b, i64 n) {
    return [=](i64 i) -> Two<A> {
        const Doubles u = get_doubles(a, i, n), v = a == b ? u : get_doubles(b, i, n);
        return {A::product(u.low, v.low), A::product(u.high, v.high)};
    };
}

}  // namespace
}  // namespace lrn

// Sums over boxes, by additions only: first along each line, then along the inner axes, then from
// row to row in the ring of window.hpp.
#pragma once

#include "box_rows.hpp"
#include "window.hpp"

namespace lrn {
namespace {

template <class A>
struct Two {  // as many sums as there are floats in a vector
    A low, high;
};

// Calls sink(v, sum of the entries v - before … v - before + width - 1) for v = 0 … outputs - 1.
// There are `count` entries, entry(u) loads one, what lies outside them is zero. Wide windows are
// the end of one block and the beginning of the next; `ends` has room for `count` vectors.
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
    for (i64 block = 0; block < count; block += width) {
        i64 u = least(block + width, count) - 1;
        A run = entry(u);
        run.store(ends + u * step, double_lanes);
        while (--u >= block) {
            run = entry(u) + run;
            run.store(ends + u * step, double_lanes);
        }
    }
    A beginning{};
    bool begun = false;
    i64 block = 0, next = 0;
    for (i64 v = 0; v < outputs; ++v) {
        const i64 first = v - before, last = first + width - 1;
        for (; next <= last; ++next) {
            if (next - block == width) {
                block = next;
                begun = false;
            }
            if (next >= count) continue;
            beginning = begun ? beginning + entry(next) : entry(next);
            begun = true;
        }
        const bool has_end = first >= 0 && first < count, has_beginning = begun && block != first;
        if (has_end) {
            const A end = A::load(ends + first * step, double_lanes);
            sink(v, has_beginning ? end + beginning : end);
        } else {
            sink(v, has_beginning ? beginning : A{});
        }
    }
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
    }

    void begin() {
        if (width == 1) return;
        std::memset(line - float_lanes, 0, std::size_t(A::parts * length) * sizeof(double));
    }

    void put(i64 i, Two<A> terms) {
        terms.low.store(line + i, length);
        terms.high.store(line + i + double_lanes, length);
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
    A at(const double* from, i64 i) const { return A::load(from + i, length); }

    template <int fixed, class Sink>
    void direct(Sink sink) {
        const int count = fixed ? fixed : int(width);
        const auto one = [&](i64 i) {
            A sum = at(line, i - before);
            for (int k = 1; k < count; ++k) sum = sum + at(line, i - before + k);
            return sum;
        };
        for (i64 i = 0; i < pitch; i += float_lanes) sink(i, one(i), one(i + double_lanes));
    }

    template <class Sink>
    void wide(Sink sink) {
        const i64 whole = width / double_lanes, rest = width % double_lanes, shift = before % double_lanes;
        for (i64 i = -float_lanes; i < pitch + float_lanes; i += double_lanes) (at(line, i) + at(line, i + 1)).store(twos + i, length);
        for (i64 u = 0; u < vectors; ++u) {
            const i64 from = (u - 1) * double_lanes - shift;
            A sum = at(twos, from);
            for (i64 l = 2; l < double_lanes; l += 2) sum = sum + at(twos, from + l);
            sum.store(runs + u * A::parts * double_lanes, double_lanes);
        }
        A low{};
        const auto run = [&](i64 u) { return A::load(runs + u * A::parts * double_lanes, double_lanes); };
        slide<A>(vectors, before / double_lanes - 1, whole, pitch / double_lanes, ends, run, [&](i64 v, A sum) {
            const i64 from = (v - before / double_lanes + whole) * double_lanes - shift;
            if (rest && from > -2 * double_lanes && from < n) {
                for (i64 l = 0; l + 1 < rest; l += 2) sum = sum + at(twos, from + l);
                if (rest % 2) sum = sum + at(line, from + rest - 1);
            }
            if (v % 2 == 0) low = sum;
            else sink((v - 1) * double_lanes, low, sum);
        });
    }

    i64 n, pitch, before, length, vectors;
    double *line = nullptr, *twos = nullptr, *runs = nullptr, *ends = nullptr;
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
          ring(flat(tile), mirrored ? tile.coefficients.after : tile.coefficients.before,
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

    void begin() { lane.begin(); }

    // line(cell) gives a function of i, the index of a vector of floats, whose values are the terms of that line.
    template <class Line>
    void take_in(i64 j, Line line) {
        for (i64 cell = 0; cell < tile.cells; ++cell) {
            const auto terms = line(cell);
            const i64 at = cell * pitch;
            if (tile.inner_axes == 0)
                along(terms, [&](i64 i, A low, A high) { ring.put(j, at + i, low, high); });
            else
                along(terms, [&](i64 i, A low, A high) {
                    low.store(row + at + i, row_length());
                    high.store(row + at + i + double_lanes, row_length());
                });
        }
        if (tile.inner_axes == 0) return;
        i64 step = row_length();
        for (int a = 0; a < tile.inner_axes; ++a) slide_along(a, step);
        for (i64 i = 0; i < row_length(); i += float_lanes)
            ring.put(j, i, A::load(row + i, row_length()), A::load(row + i + double_lanes, row_length()));
    }

    void end(i64 j) { ring.end(j); }
    typename Window<A>::Rows rows(i64 c) const { return ring.rows(c); }

private:
    static Tile flat(const BoxTile& tile) {
        Tile all{};
        all.channels = tile.rows;
        all.pixels = tile.cells * round_up(tile.lanes, float_lanes);
        return all;
    }

    i64 row_length() const { return tile.cells * pitch; }

    template <class Terms, class Sink>
    void along(const Terms& terms, Sink sink) {
        for (i64 i = 0; i < pitch; i += float_lanes) {
            const Two<A> t = terms(i);
            if (lane.width == 1) sink(i, t.low, t.high);
            else lane.put(i, t);
        }
        if (lane.width > 1) lane.sum(sink);
    }

    // step: elements from one index of the axis before to the next, then of this one.
    void slide_along(int a, i64& step) {
        const BoxAxis& axis = tile.inner[a];
        const i64 group = step;
        step /= axis.size;
        const i64 before = mirrored ? axis.after : axis.before;
        for (i64 begin = 0; begin < row_length(); begin += group)
            for (i64 i = begin; i < begin + step; i += double_lanes) {
                for (i64 u = 0; u < axis.size; ++u)
                    A::load(row + i + u * step, row_length()).store(column + u * A::parts * double_lanes, double_lanes);
                slide<A>(
                    axis.size, before, axis.before + axis.after + 1, axis.size, ends,
                    [&](i64 u) { return A::load(column + u * A::parts * double_lanes, double_lanes); },
                    [&](i64 v, A sum) { sum.store(row + i + v * step, row_length()); });
            }
    }

    const BoxTile& tile;
    bool mirrored;
    i64 pitch, longest = 0;
    LaneSums<A> lane;
    Window<A> ring;
    double *row = nullptr, *column = nullptr, *ends = nullptr;
};

// Calls body with the number of rows fixed where it is a common one, else with 0.
template <class Body>
inline void with_rows(int count, Body body) {
    if (count == 2) body(Count<2>{});
    else if (count == 3) body(Count<3>{});
    else if (count == 5) body(Count<5>{});
    else body(Count<0>{});
}

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

// The elements of a box tile that the vector code cannot be trusted with, and their sums in long
// double, computed only where they are asked for.
#pragma once

#include "box_rows.hpp"
#include "box_scalar.h"

namespace lrn {
namespace {

using Real = scalar::Real;

// Where elements of a row lie: `flat` counts cells times the pitch of a line.
struct Place {
    i64 cell, lane;
};
inline Place place_of(i64 flat, i64 pitch) { return {flat / pitch, flat % pitch}; }

// The elements of a row that go another way.
class BoxRare {
public:
    explicit BoxRare(const BoxTile& tile) : n(tile.lanes), pitch(round_up(n, float_lanes)), most_of_them(tile.cells * pitch) {}
    void place(Arena& arena) { index = arena.take<i64>(most_of_them); }
    void clear() { count = 0; }
    void add(i64 cell, i64 i, unsigned lanes) {
        for (; lanes; lanes &= lanes - 1) {
            const i64 lane = i + __builtin_ctz(lanes);
            if (lane < n) index[count++] = cell * pitch + lane;
        }
    }
    const i64* begin() const { return index; }
    const i64* end() const { return index + count; }
    bool any() const { return count > 0; }

private:
    i64 n, pitch, most_of_them;
    i64* index = nullptr;
    i64 count = 0;
};

// Calls visit(flat) for each element of a row whose cell and lane lie in the box around `flat`.
template <class Visit>
inline void around(const BoxTile& tile, i64 flat, bool mirrored, Visit visit) {
    const i64 pitch = round_up(tile.lanes, float_lanes);
    const Place p = place_of(flat, pitch);
    const i64 before = mirrored ? tile.lane_after : tile.lane_before;
    const i64 after = mirrored ? tile.lane_before : tile.lane_after;
    const i64 first = most(p.lane - before, 0), last = least(p.lane + after, tile.lanes - 1);
    i64 low[max_rank], high[max_rank], at[max_rank], rest = p.cell;
    for (int a = tile.inner_axes - 1; a >= 0; --a) {
        const BoxAxis& axis = tile.inner[a];
        const i64 here = rest % axis.size;
        rest /= axis.size;
        low[a] = at[a] = most(here - (mirrored ? axis.after : axis.before), 0);
        high[a] = least(here + (mirrored ? axis.before : axis.after), axis.size - 1);
    }
    for (;;) {
        i64 cell = 0;
        for (int a = 0; a < tile.inner_axes; ++a) cell = cell * tile.inner[a].size + at[a];
        for (i64 lane = first; lane <= last; ++lane) visit(cell * pitch + lane);
        int a = tile.inner_axes - 1;
        for (; a >= 0 && at[a] == high[a]; --a) at[a] = low[a];
        if (a < 0) return;
        ++at[a];
    }
}

// Values of the elements of a row, each computed when it is first asked for; of the last `depth`
// rows that were asked for.
class Remembered {
public:
    Remembered(const BoxTile& tile, i64 depth) : row(tile.cells * round_up(tile.lanes, float_lanes)), depth(least(depth, tile.rows)) {}

    void place(Arena& arena) {
        values = arena.take<Real>(row * depth);
        known = arena.take<i64>(row * depth);
    }

    template <class Compute>
    Real at(i64 r, i64 flat, Compute compute) {
        if (!ready)
            for (i64 i = 0; i < row * depth; ++i) known[i] = -1;
        ready = true;
        const i64 i = r % depth * row + flat;
        if (known[i] != r) {
            values[i] = compute();
            known[i] = r;
        }
        return values[i];
    }

private:
    i64 row, depth;
    bool ready = false;
    Real* values = nullptr;
    i64* known = nullptr;
};

// Sums over the boxes of row r: down the rows first, which neighbours share.
class ExactSums {
public:
    ExactSums(const BoxTile& tile, bool mirrored, i64 depth)
        : tile(tile),
          mirrored(mirrored),
          before(mirrored ? tile.coefficients.after : tile.coefficients.before),
          after(mirrored ? tile.coefficients.before : tile.coefficients.after),
          columns(tile, depth) {}

    void place(Arena& arena) { columns.place(arena); }

    // term(r, flat) is what an element adds.
    template <class Term>
    Real at(i64 r, i64 flat, Term term) {
        Real sum = 0;
        around(tile, flat, mirrored, [&](i64 other) {
            if (sum != sum) return;  // nan: adding to it is slow, and changes nothing
            sum += columns.at(r, other, [&] {
                Real column = 0;
                for (i64 j = most(r - before, 0); j <= least(r + after, tile.rows - 1) && column == column; ++j)
                    column += term(j, other);
                return column;
            });
        });
        return sum;
    }

private:
    const BoxTile& tile;
    bool mirrored;
    i64 before, after;
    Remembered columns;
};

// The rare outputs of row c of forward.
template <class S>
inline void replace_rare(i64 c, const BoxRare& rare, i64 pitch, const BoxReader<S>& x, BoxWriter<S>& y, ExactSums& exact,
                         const Coefficients& k) {
    for (i64 flat : rare) {
        const Place p = place_of(flat, pitch);
        const Real sum = exact.at(c, flat, [&](i64 r, i64 other) {
            const Place q = place_of(other, pitch);
            const Real v = x.at(r, q.cell, q.lane);
            return v * v;
        });
        y.replace(c, p.cell, p.lane, scalar::box_forward(x.at(c, p.cell, p.lane), sum, k));
    }
}

// The outputs of later rows that marked elements reach: for each place the last such row.
class Reached {
public:
    Reached(const BoxTile& tile, bool mirrored) : tile(tile), mirrored(mirrored), row(tile.cells * round_up(tile.lanes, float_lanes)) {}

    void place(Arena& arena) { last = arena.take<i64>(row); }

    void mark(i64 r, const BoxRare& rare) {
        if (!rare.any()) return;
        if (!any)
            for (i64 i = 0; i < row; ++i) last[i] = -1;
        any = true;
        for (i64 flat : rare) around(tile, flat, mirrored, [&](i64 other) { last[other] = r; });
    }

    // Calls visit(flat) for each output of row r that a marked element at most `distance` rows
    // before it, or any behind it, reaches.
    template <class Visit>
    void each(i64 r, i64 distance, Visit visit) const {
        if (!any) return;
        const i64 pitch = round_up(tile.lanes, float_lanes);
        for (i64 cell = 0; cell < tile.cells; ++cell)
            for (i64 i = cell * pitch; i < cell * pitch + tile.lanes; ++i)
                if (last[i] >= 0 && last[i] >= r - distance) visit(i);
    }

private:
    const BoxTile& tile;
    bool mirrored;
    i64 row;
    bool any = false;
    i64* last = nullptr;
};

}  // namespace
}  // namespace lrn

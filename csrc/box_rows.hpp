// Lines of a box tile in any layout: read where they lie or copied, and written.
#pragma once

#include "box.h"
#include "rows.hpp"

namespace lrn {
namespace {

// Loops over a line: what they call is inlined, or every vector would go through memory.
#define LRN_LOOP [[gnu::flatten]]

// Where the line of each cell begins, counted from the row's first element.
inline void place_cells(const BoxTile& tile, Operand which, i64* offsets) {
    for (i64 cell = 0; cell < tile.cells; ++cell) {
        i64 rest = cell, offset = 0;
        for (int a = tile.inner_axes - 1; a >= 0; --a) {
            offset += rest % tile.inner[a].size * tile.inner[a].stride[which];
            rest /= tile.inner[a].size;
        }
        offsets[cell] = offset;
    }
}

// Reads the rows of an operand in ascending order. Contiguous lines are read where they lie, unless
// the kernel overwrites them; of others the last `depth` rows are kept.
template <class S>
class BoxReader {
public:
    BoxReader(const BoxTile& tile, Operand which, i64 depth)
        : tile(tile),
          which(which),
          pitch(round_up(tile.lanes, float_lanes)),
          depth(least(depth, tile.rows)),
          base(static_cast<const S*>(tile.data[which])),
          row_stride(tile.row_stride[which]),
          direct(tile.lane_stride[which] == 1 && !tile.in_place) {}

    void place(Arena& arena) {
        offsets = arena.take<i64>(tile.cells);
        if (!direct) ring = arena.take<S>(depth * tile.cells * pitch);
    }

    void begin() { place_cells(tile, which, offsets); }

    void fetch(i64 r) {
        if (direct) return;
        for (i64 cell = 0; cell < tile.cells; ++cell) {
            S* to = kept(r, cell);
            const S* from = base + r * row_stride + offsets[cell];
            const i64 stride = tile.lane_stride[which];
            if (stride == 1) std::memcpy(to, from, std::size_t(tile.lanes) * sizeof(S));
            else
                for (i64 i = 0; i < tile.lanes; ++i) to[i] = from[i * stride];
        }
    }

    const S* line(i64 r, i64 cell) const {
        return direct ? base + r * row_stride + offsets[cell] : kept(r, cell);
    }

    double at(i64 r, i64 cell, i64 i) const { return one(line(r, cell) + i); }

private:
    S* kept(i64 r, i64 cell) const { return ring + (r % depth * tile.cells + cell) * pitch; }

    const BoxTile& tile;
    Operand which;
    i64 pitch, depth;
    const S* base;
    i64 row_stride;
    bool direct;
    i64* offsets = nullptr;
    S* ring = nullptr;
};

template <class S>
class BoxWriter {
public:
    explicit BoxWriter(const BoxTile& tile)
        : tile(tile),
          base(static_cast<S*>(const_cast<void*>(tile.data[out]))),
          stride(tile.lane_stride[out]) {}

    void place(Arena& arena) {
        offsets = arena.take<i64>(tile.cells);
        if (stride != 1) buffer = arena.take<S>(round_up(tile.lanes, float_lanes));
    }

    void begin() { place_cells(tile, out, offsets); }

    // Where to write a line; done(r, cell) follows.
    S* line(i64 r, i64 cell) { return stride == 1 ? place_of(r, cell) : buffer; }

    void done(i64 r, i64 cell) {
        if (stride == 1) return;
        S* to = place_of(r, cell);
        for (i64 i = 0; i < tile.lanes; ++i) to[i * stride] = buffer[i];
    }

    // Replaces one element of a line that is done.
    void replace(i64 r, i64 cell, i64 i, double value) { put_one(place_of(r, cell) + i * stride, value); }

private:
    S* place_of(i64 r, i64 cell) const { return base + r * tile.row_stride[out] + offsets[cell]; }

    const BoxTile& tile;
    S* base;
    i64 stride;
    i64* offsets = nullptr;
    S* buffer = nullptr;
};

}  // namespace
}  // namespace lrn

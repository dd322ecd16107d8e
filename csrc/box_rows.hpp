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

// Lines are kept in float, or in double where the array is: R. Calls visit with an element of the
// type that the array has.
template <class R, class Visit>
inline void with_stored(Type type, Visit visit) {
    if constexpr (sizeof(R) == 8) visit(double{});
    else if (type == Type::f16) visit(f16{});
    else if (type == Type::bf16) visit(bf16{});
    else visit(float{});
}
template <class R>
inline bool is_stored_as(Type type) {
    return sizeof(R) == 8 || type == Type::f32;
}

// Reads the rows of an operand in ascending order. Contiguous lines are read where they lie, unless
// they have 16 bits or the kernel overwrites them; of others the last `depth` rows are kept.
template <class R>
class BoxReader {
public:
    BoxReader(const BoxTile& tile, Operand which, i64 depth)
        : tile(tile),
          which(which),
          pitch(round_up(tile.lanes, float_lanes)),
          depth(least(depth, tile.rows)),
          row_stride(tile.row_stride[which]),
          direct(tile.lane_stride[which] == 1 && !tile.in_place && is_stored_as<R>(tile.type)) {}

    void place(Arena& arena) {
        offsets = arena.take<i64>(tile.cells);
        if (!direct) ring = arena.take<R>(depth * tile.cells * pitch);
    }

    void begin() { place_cells(tile, which, offsets); }

    bool reads_in_place() const { return direct; }

    void fetch(i64 r) {
        if (direct) return;
        with_stored<R>(tile.type, [&](auto element) {
            using S = decltype(element);
            const S* row = static_cast<const S*>(tile.data[which]) + r * row_stride;
            for (i64 cell = 0; cell < tile.cells; ++cell) copy_line(kept(r, cell), row + offsets[cell]);
        });
    }

    const R* line(i64 r, i64 cell) const {
        return direct ? static_cast<const R*>(tile.data[which]) + r * row_stride + offsets[cell] : kept(r, cell);
    }

    double at(i64 r, i64 cell, i64 i) const { return double(line(r, cell)[i]); }

private:
    R* kept(i64 r, i64 cell) const { return ring + (r % depth * tile.cells + cell) * pitch; }

    template <class S>
    void copy_line(R* to, const S* from) const {
        const i64 stride = tile.lane_stride[which], n = tile.lanes;
        if (stride != 1) {
            for (i64 i = 0; i < n; ++i) to[i] = R(one(from + i * stride));
        } else if constexpr (sizeof(S) == sizeof(R)) {
            std::memcpy(to, from, std::size_t(n) * sizeof(S));
        } else {
            for (i64 i = 0; i < n; i += float_lanes) store(to + i, get(from, i, n));
        }
    }

    const BoxTile& tile;
    Operand which;
    i64 pitch, depth, row_stride;
    bool direct;
    i64* offsets = nullptr;
    R* ring = nullptr;
};

template <class R>
class BoxWriter {
public:
    explicit BoxWriter(const BoxTile& tile)
        : tile(tile), stride(tile.lane_stride[out]), direct(stride == 1 && is_stored_as<R>(tile.type)) {}

    void place(Arena& arena) {
        offsets = arena.take<i64>(tile.cells);
        if (!direct) buffer = arena.take<R>(round_up(tile.lanes, float_lanes));
    }

    void begin() { place_cells(tile, out, offsets); }

    bool writes_in_place() const { return direct; }

    // Where to write a line; done(r, cell) follows.
    R* line(i64 r, i64 cell) { return direct ? place_of<R>(r, cell) : buffer; }

    void done(i64 r, i64 cell) {
        if (direct) return;
        with_stored<R>(tile.type, [&](auto element) {
            using S = decltype(element);
            S* to = place_of<S>(r, cell);
            if constexpr (sizeof(S) == 2)
                if (stride == 1) {
                    for (i64 i = 0; i < tile.lanes; i += float_lanes) put(to, i, tile.lanes, load(buffer + i));
                    return;
                }
            for (i64 i = 0; i < tile.lanes; ++i) put_one(to + i * stride, double(buffer[i]));
        });
    }

    // Replaces one element of a line that is done.
    void replace(i64 r, i64 cell, i64 i, double value) {
        with_stored<R>(tile.type, [&](auto element) { put_one(place_of<decltype(element)>(r, cell) + i * stride, value); });
    }

private:
    template <class S>
    S* place_of(i64 r, i64 cell) const {
        return static_cast<S*>(const_cast<void*>(tile.data[out])) + r * tile.row_stride[out] + offsets[cell];
    }

    const BoxTile& tile;
    i64 stride;
    bool direct;
    i64* offsets = nullptr;
    R* buffer = nullptr;
};

}  // namespace
}  // namespace lrn

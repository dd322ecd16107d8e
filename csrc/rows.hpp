// Rows of a tile: `pixels` neighbours of one channel, contiguous whatever the array's layout.
#pragma once

#include "scalar.h"
#include "tile.h"
#include "vector.hpp"

namespace lrn {
namespace {

constexpr i64 block_rows = 16;  // channels transposed at a time where pixels are not contiguous

inline i64 round_up(i64 n, i64 to) { return (n + to - 1) / to * to; }

// Hands out cache-line aligned pieces of one buffer. Placing twice, first without a buffer,
// tells how much is needed.
class Arena {
public:
    explicit Arena(void* base) : base(static_cast<char*>(base)) {}
    template <class T>
    T* take(i64 count) {
        T* piece = base ? reinterpret_cast<T*>(base + used) : nullptr;
        used += round_up(count * i64(sizeof(T)), 64);
        return piece;
    }
    i64 used = 0;

private:
    char* base;
};

// Where an element of an operand lies.
template <class S>
inline const S* element(const Tile& tile, Operand which, i64 c, i64 p) {
    return static_cast<const S*>(tile.data[which]) + c * tile.channel_stride[which] + p * tile.pixel_stride[which];
}
template <class S>
inline S* output(const Tile& tile, i64 c, i64 p) {
    return const_cast<S*>(element<S>(tile, out, c, p));
}

// Runs a kernel with its buffers in the thread's scratch memory; false where there is none.
template <class K>
inline bool run_in_scratch(K kernel) {
    Arena measure(nullptr);
    kernel.place(measure);
    void* memory = scratch(std::size_t(measure.used));
    if (!memory) return false;
    Arena arena(memory);
    kernel.place(arena);
    kernel.run();
    return true;
}

// Vectors of a row of n elements; what lies beyond n reads as zero and is not written.
template <class S>
inline vf get(const S* row, i64 i, i64 n) {
    return i + float_lanes <= n ? load(row + i) : load_part(row + i, n - i);
}
template <class S>
inline void put(S* row, i64 i, i64 n, vf v) {
    if (i + float_lanes <= n) store(row + i, v);
    else store_part(row + i, v, n - i);
}
template <class S>
LRN_INLINE Doubles get_doubles(const S* row, i64 i, i64 n) {
    if constexpr (sizeof(S) == 8) {
        if (i + float_lanes <= n) return {load(row + i), load(row + i + double_lanes)};
        return {load_part(row + i, least(n - i, double_lanes)),
                load_part(row + i + double_lanes, most(n - i - double_lanes, 0))};
    } else {
        if constexpr (sizeof(S) == 4)
            if (i + float_lanes <= n) return load_doubles(row + i);
        return widen(get(row, i, n));
    }
}
template <class S>
LRN_INLINE void put_doubles(S* row, i64 i, i64 n, Doubles v) {
    if constexpr (sizeof(S) == 8) {
        if (i + float_lanes <= n) {
            store(row + i, v.low);
            store(row + i + double_lanes, v.high);
        } else {
            store_part(row + i, v.low, least(n - i, double_lanes));
            store_part(row + i + double_lanes, v.high, most(n - i - double_lanes, 0));
        }
    } else {
        put(row, i, n, narrow(v));
    }
}

// Calls body(i) for each vector of a line of at least a vector's n floats, whole ones alone: the last
// overlaps the one before. Storing part of a vector is slow on AMD's processors.
//
//     n 11, vectors of 8:   i = 0, 3
template <class Body>
LRN_INLINE void for_whole_vectors(i64 n, Body body) {
    const i64 last = n - float_lanes;
    for (i64 i = 0;; i = least(i + float_lanes, last)) {
        body(i);
        if (i == last) return;
    }
}

// Reads the channels of an operand in ascending order and keeps the last `depth` of them. Rows
// that lie contiguous in memory are read where they are, unless the kernel overwrites them.
// R is the type kept: S itself, or float.
template <class S, class R = S>
class History {
public:
    History(const Tile& tile, Operand which, i64 depth)
        : base(element<S>(tile, which, 0, 0)),
          channel_stride(tile.channel_stride[which]),
          pixel_stride(tile.pixel_stride[which]),
          channels(tile.channels),
          pixels(tile.pixels),
          pitch(round_up(tile.pixels, float_lanes)),
          depth(least(depth, tile.channels)),
          direct(pixel_stride == 1 && !tile.in_place && sizeof(S) == sizeof(R)) {}

    void place(Arena& arena) {
        if (direct) return;
        ring = arena.take<R>(depth * pitch);
        if (pixel_stride != 1) block = arena.take<S>(block_rows * pitch);
    }

    void fetch(i64 c) {
        if (direct) return;
        const S* row = base + c * channel_stride;
        if (pixel_stride != 1) {
            if (c % block_rows == 0) transpose(c);
            row = block + c % block_rows * pitch;
        }
        R* kept = ring + c % depth * pitch;
        if constexpr (sizeof(S) == sizeof(R)) {
            std::memcpy(kept, row, std::size_t(pixels) * sizeof(S));
        } else {
            const S* next = base + least(c + 1, channels - 1) * channel_stride;
            for (i64 i = 0; i < pixels; i += float_lanes) {
                __builtin_prefetch(next + i);
                store(kept + i, get(row, i, pixels));
            }
        }
    }

    const R* at(i64 c) const {
        if constexpr (sizeof(S) == sizeof(R))
            if (direct) return reinterpret_cast<const R*>(base + c * channel_stride);
        return ring + c % depth * pitch;
    }

    // Whether rows are read where they lie.
    bool in_place() const { return direct; }

    // Where to fetch ahead for at(c); any row where there is none.
    const R* ahead(i64 c) const { return at(least(c, channels - 1)); }

    // Pixel p of channels first..last as doubles.
    void column(i64 p, i64 first, i64 last, double* to) const {
        for (i64 c = first; c <= last; ++c) to[c - first] = one(at(c) + p);
    }

private:
    void transpose(i64 c) {
        const i64 rows = least(block_rows, channels - c);
        const S* from = base + c * channel_stride;
        if (channel_stride == 1 && rows == block_rows) {
            for (i64 p = 0; p < pixels; ++p)
                for (i64 k = 0; k < block_rows; ++k) block[k * pitch + p] = from[p * pixel_stride + k];
        } else {
            for (i64 k = 0; k < rows; ++k)
                for (i64 p = 0; p < pixels; ++p)
                    block[k * pitch + p] = from[k * channel_stride + p * pixel_stride];
        }
    }

    const S* base;
    i64 channel_stride, pixel_stride, channels, pixels, pitch, depth;
    bool direct;
    R* ring = nullptr;
    S* block = nullptr;
};

// Takes the lines of the output in ascending order, each one pixel's channels. Those that leave the
// cache are gathered for several pixels: lines of few channels seldom begin where a store around the
// cache can.
template <class S>
class LineWriter {
public:
    explicit LineWriter(const Tile& tile)
        : tile(tile), n(tile.channels), gathers(tile.stream && tile.pixel_stride[out] == n),
          most_lines(least(elements / n + 1, tile.pixels)) {}

    void place(Arena& arena) {
        if (gathers) gathered = arena.take<S>(most_lines * n);
    }

    // Where to write the line of pixel p; done(p) follows.
    S* line(i64 p) { return gathers ? gathered + lines * n : output<S>(tile, 0, p); }

    void done(i64 p) {
        if (!gathers || (++lines < most_lines && p < tile.pixels - 1)) return;
        stream_row(output<S>(tile, 0, p - lines + 1), gathered, lines * n);
        lines = 0;
    }

private:
    static constexpr i64 elements = 2048;

    const Tile& tile;
    const i64 n;
    const bool gathers;
    const i64 most_lines;
    i64 lines = 0;
    S* gathered = nullptr;
};

// Takes the rows of the output in ascending order.
template <class S>
class Writer {
public:
    explicit Writer(const Tile& tile)
        : base(output<S>(tile, 0, 0)),
          channel_stride(tile.channel_stride[out]),
          pixel_stride(tile.pixel_stride[out]),
          channels(tile.channels),
          pixels(tile.pixels),
          pitch(round_up(tile.pixels, float_lanes)) {}

    void place(Arena& arena) {
        if (pixel_stride != 1) block = arena.take<S>(block_rows * pitch);
    }

    // Whether rows are written where they belong.
    bool in_place() const { return pixel_stride == 1; }

    // Where to write row c; done(c) follows.
    S* row(i64 c) { return in_place() ? base + c * channel_stride : block + c % block_rows * pitch; }

    void done(i64 c) {
        if (!in_place() && (c % block_rows == block_rows - 1 || c == channels - 1)) transpose(c);
        written = c;
    }

    // Replaces one element of a row that is done.
    void replace(i64 c, i64 p, double value) {
        const bool waits = pixel_stride != 1 && c / block_rows == written / block_rows &&
                           written % block_rows != block_rows - 1 && written != channels - 1;
        put_one(waits ? block + c % block_rows * pitch + p
                      : base + c * channel_stride + p * pixel_stride,
                value);
    }

private:
    void transpose(i64 last) {
        const i64 first = last / block_rows * block_rows, rows = last - first + 1;
        S* to = base + first * channel_stride;
        if (channel_stride == 1 && rows == block_rows) {
            for (i64 p = 0; p < pixels; ++p)
                for (i64 k = 0; k < block_rows; ++k) to[p * pixel_stride + k] = block[k * pitch + p];
        } else {
            for (i64 k = 0; k < rows; ++k)
                for (i64 p = 0; p < pixels; ++p)
                    to[k * channel_stride + p * pixel_stride] = block[k * pitch + p];
        }
    }

    S* base;
    i64 channel_stride, pixel_stride, channels, pixels, pitch;
    S* block = nullptr;
    i64 written = -1;
};

}  // namespace
}  // namespace lrn

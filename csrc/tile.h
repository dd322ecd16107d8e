// What a kernel is given: all channels of a run of pixels, one stride each. The walk over the
// rest of the array (walk.cpp) cuts a Problem into tiles; no result depends on where it cuts.
#pragma once

#include "lrn.h"

namespace lrn {

// Exponents with a short chain of roots and products; the others go through log2 and exp2:
// `general` up to 3/4, `steep` up to 3 (both in float where the result is), `any` beyond.
enum class Power : int {
    quarter, half, three_quarter, one, five_quarter, three_half, seven_quarter, two, three, general, steep, any
};

// Above 1 an error of D counts more than once: D is summed in double there.
constexpr bool is_steep(Power power) {
    return power != Power::quarter && power != Power::half && power != Power::three_quarter &&
           power != Power::one && power != Power::general;
}
constexpr bool is_chain(Power power) {
    return power != Power::general && power != Power::steep && power != Power::any;
}

// Windows of up to `direct_width` channels are summed afresh for each channel. Wider ones share sums:
// `group` neighbours at a time (grouped.hpp), or blocks as wide as the window (window.hpp).
// There, up to `direct_blocks` sums of a group are added afresh.
constexpr std::int64_t direct_width = 5, group = 4, direct_blocks = 2;

struct Tile {
    Coefficients coefficients;  // before and after at most channels - 1
    Power power;
    bool narrow;  // float arithmetic keeps the accuracy promised
    bool grouped;  // sums in double, powers in float
    bool whole;  // every window is the whole axis
    bool lines;  // narrow or whole, and the channels of a pixel are contiguous in every operand
    bool stream;  // the output leaves the cache: write around it
    bool in_place;
    std::int64_t channels, pixels;
    const void* data[operands];
    std::int64_t channel_stride[operands], pixel_stride[operands];
    ParameterGradients* partial;  // parameters only: the sums over this tile
};

using Kernel = bool (*)(const Tile&);

// One row of the table a run-time choice picks from.
struct KernelTable {
    Kernel forward[type_count], vjp[type_count], jvp[type_count], parameters[type_count];
    Kernel vjp_parameters[type_count];  // both, while the tile is in the cache
};

// A cache-line aligned buffer that belongs to the calling thread, valid until its next call.
void* scratch(std::size_t bytes);

// Gives back what is too much to keep between calls.
void trim_scratch();

}  // namespace lrn

// What a kernel is given: all channels of a run of pixels, one stride each. The walk over the
// rest of the array (walk.cpp) cuts a Problem into tiles; no result depends on where it cuts.
#pragma once

#include "lrn.h"

namespace lrn {

// beta's with a short chain of square roots or products; everything else goes through log2 and exp2.
enum class Power : int { quarter, half, three_quarter, one, two, general };

struct Tile {
    Coefficients coefficients;  // before and after at most channels - 1
    Power power;
    bool narrow;  // float arithmetic keeps the accuracy promised
    bool lines;   // narrow, and the channels of a pixel are contiguous in every operand
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
};

// A cache-line aligned buffer that belongs to the calling thread, valid until its next call.
void* scratch(std::size_t bytes);

// Gives back what is too much to keep between calls.
void trim_scratch();

}  // namespace lrn

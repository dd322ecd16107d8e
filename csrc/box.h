// Windows over several axes: the problem, the tile a kernel is given, and the table of kernels.
//
//     D[p] = bias + scale * sum x[q]^2      q in p - before … p + after along every axis
//     y[p] = x[p] * D[p]^(-beta)
#pragma once

#include "tile.h"

namespace lrn {

// Strides count elements. An axis outside the box has before = after = 0.
struct BoxAxis {
    std::int64_t size, before, after, stride[operands];
};

struct BoxProblem {
    Type type;
    double scale, beta, bias;
    const void* data[operands];  // as in Problem
    int rank;
    BoxAxis axis[max_rank];
    int threads;
    bool fresh;
};

bool forward(const BoxProblem&);
bool vjp(const BoxProblem&);
bool jvp(const BoxProblem&);
bool parameters(const BoxProblem&, ParameterGradients& total);

// The array as a kernel sees it: rows along one axis of the box; in each row one line for every
// cell of the box's further axes; in each line contiguous or strided lanes, along an axis of the
// box or across it.
struct BoxTile {
    Type type;
    Coefficients coefficients;  // before and after along the rows, at most rows - 1
    Power power;
    bool narrow;  // float sums along the line or the one inner axis keep the accuracy promised
    bool in_place;
    std::int64_t rows, first, last;  // of these rows the outputs first … last - 1 are wanted
    std::int64_t row_stride[operands];
    int inner_axes;
    BoxAxis inner[max_rank];
    std::int64_t cells;  // the product of the inner sizes
    std::int64_t lanes, lane_before, lane_after, lane_stride[operands];
    const void* data[operands];
    ParameterGradients* partial;
};

using BoxKernel = bool (*)(const BoxTile&);

struct BoxKernelTable {
    struct Pair {
        BoxKernel single, wide;  // of arrays of 32 bits or less, and of float64
    };
    Pair forward, vjp, jvp, parameters;
};

const BoxKernelTable& box_kernels_in_use();

}  // namespace lrn

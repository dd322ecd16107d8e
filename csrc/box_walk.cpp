// From an array and a box to tiles: which axis supplies the rows, which the lanes, how much a tile
// holds. No result depends on it, save the parameter gradients, whose tiles are therefore the same
// for any number of threads.
#include <atomic>
#include <memory>
#include <new>

#include "box.h"
#include "platform.h"
#include "threads.h"
#include "walk.h"

namespace lrn {
namespace {

using i64 = std::int64_t;

constexpr i64 elements_worth_sharing = 1 << 15;
constexpr i64 enough_lanes = 16, most_lanes = 512;
constexpr i64 bytes_of_sums = 256 << 10;     // what the rows of a box may fill of the cache
constexpr i64 widest_of_runs = 64;  // lanes of a box that is added from runs of eight, one after the other
constexpr i64 elements_of_a_piece = 1 << 16;  // of a tile that is cut for parameter gradients

i64 magnitude(i64 v) { return v < 0 ? -v : v; }
i64 least(i64 a, i64 b) { return a < b ? a : b; }
i64 most(i64 a, i64 b) { return a > b ? a : b; }
i64 pieces_of(i64 whole, i64 part) { return (whole + part - 1) / part; }

bool is_in_box(const BoxAxis& axis) { return axis.before > 0 || axis.after > 0; }

// The axes of the problem that have more than one index, windows clipped to them.
struct Axes {
    BoxAxis axis[max_rank + 1];
    int count = 0, in_box = 0;
    i64 elements = 1;
};

Axes clipped(const BoxProblem& problem) {
    Axes axes;
    for (int a = 0; a < problem.rank; ++a) {
        BoxAxis axis = problem.axis[a];
        axes.elements *= axis.size;
        axis.before = least(axis.before, most(axis.size - 1, 0));
        axis.after = least(axis.after, most(axis.size - 1, 0));
        for (int o = 0; o < operands; ++o)
            if (!problem.data[o]) axis.stride[o] = 0;
        if (axis.size == 1) continue;
        axes.in_box += is_in_box(axis);
        axes.axis[axes.count++] = axis;
    }
    return axes;
}

// The same problem as a window along one axis at most.
Problem along_one_axis(const BoxProblem& box, const Axes& axes) {
    Problem problem{};
    problem.type = box.type;
    problem.threads = box.threads;
    problem.fresh = box.fresh;
    BoxAxis channels{1, 0, 0, {1, 1, 1}};
    for (int a = 0; a < axes.count; ++a) {
        const BoxAxis& axis = axes.axis[a];
        if (is_in_box(axis)) {
            channels = axis;
            continue;
        }
        problem.size[problem.rank] = axis.size;
        for (int o = 0; o < operands; ++o) problem.stride[problem.rank][o] = axis.stride[o];
        ++problem.rank;
    }
    problem.coefficients = {box.scale, box.beta, box.bias, channels.before, channels.after};
    problem.channels = channels.size;
    for (int o = 0; o < operands; ++o) {
        problem.data[o] = box.data[o];
        problem.channel_stride[o] = channels.stride[o];
    }
    return problem;
}

struct Walk {
    BoxTile tile;  // of the whole array, data its first element
    BoxKernel kernel;
    BoxAxis outer[max_rank];
    int rank = 0;
    i64 slices = 1, lanes = 1, rows_of_a_piece = 1, lanes_of_a_piece = 1;
    i64 pieces_of_rows = 1, pieces_of_lanes = 1;
    std::size_t item;
    ParameterGradients* partials = nullptr;
    mutable std::atomic<bool> out_of_memory{false};

    i64 pieces() const { return slices * pieces_of_rows * pieces_of_lanes; }

    void piece(i64 index) const {
        BoxTile t = tile;
        i64 rest = index, offset[operands] = {};
        const i64 first_lane = rest % pieces_of_lanes * lanes_of_a_piece;
        rest /= pieces_of_lanes;
        t.first = rest % pieces_of_rows * rows_of_a_piece;
        t.last = least(t.first + rows_of_a_piece, t.rows);
        rest /= pieces_of_rows;
        for (int a = rank - 1; a >= 0; --a) {
            for (int o = 0; o < operands; ++o) offset[o] += rest % outer[a].size * outer[a].stride[o];
            rest /= outer[a].size;
        }
        t.lanes = least(lanes - first_lane, lanes_of_a_piece);
        for (int o = 0; o < operands; ++o)
            if (t.data[o])
                t.data[o] = static_cast<const char*>(t.data[o]) +
                            (offset[o] + first_lane * t.lane_stride[o]) * i64(item);
        if (partials) t.partial = partials + index;
        const platform::CleanArithmetic clean;
        if (!kernel(t)) out_of_memory.store(true, std::memory_order_relaxed);
        trim_scratch();
    }
};

// The lanes run along contiguous memory where that is long enough to fill vectors, else along the
// longest axis; the rows along the axis of the box whose indices lie farthest apart.
void arrange(const Axes& axes, const void* const* data, Walk& walk) {
    int longest = 0, contiguous = -1;
    for (int a = 0; a < axes.count; ++a) {
        if (axes.axis[a].size > axes.axis[longest].size) longest = a;
        bool dense = true;
        for (int o = 0; o < operands; ++o) dense = dense && (!data[o] || axes.axis[a].stride[o] == 1);
        if (dense) contiguous = a;
    }
    const bool enough = contiguous >= 0 && (axes.axis[contiguous].size >= enough_lanes ||
                                            axes.axis[contiguous].size >= axes.axis[longest].size);
    const int lane = enough ? contiguous : longest;
    int row = -1;
    for (int a = 0; a < axes.count; ++a)
        if (a != lane && is_in_box(axes.axis[a]) &&
            (row < 0 || magnitude(axes.axis[a].stride[X]) > magnitude(axes.axis[row].stride[X])))
            row = a;

    BoxTile& tile = walk.tile;
    const BoxAxis &lanes = axes.axis[lane], &rows = axes.axis[row];
    walk.lanes = lanes.size;
    tile.lane_before = lanes.before;
    tile.lane_after = lanes.after;
    tile.rows = rows.size;
    tile.coefficients.before = rows.before;
    tile.coefficients.after = rows.after;
    for (int o = 0; o < operands; ++o) {
        tile.lane_stride[o] = lanes.stride[o];
        tile.row_stride[o] = rows.stride[o];
    }
    tile.cells = 1;
    for (int a = 0; a < axes.count; ++a) {
        if (a == lane || a == row) continue;
        if (is_in_box(axes.axis[a])) {
            tile.inner[tile.inner_axes++] = axes.axis[a];
            tile.cells *= axes.axis[a].size;
        } else {
            walk.outer[walk.rank++] = axes.axis[a];
            walk.slices *= axes.axis[a].size;
        }
    }
}

// Float squares and first sums keep the promised accuracy where D is not raised to high powers and
// one direction of the box is added before the rows are; their range asks for ordinary coefficients.
bool narrow_enough(const BoxTile& tile, Type type) {
    const Coefficients& k = tile.coefficients;
    const bool one_direction =
        (tile.inner_axes == 0 && tile.lane_before + tile.lane_after < widest_of_runs) ||
        (tile.inner_axes == 1 && tile.lane_before + tile.lane_after == 0 &&
         tile.inner[0].before + tile.inner[0].after < 5);
    return type != Type::f64 && one_direction && tile.power != Power::two &&
           (tile.power == Power::one || (k.beta >= -0.75 && k.beta <= 0.75)) &&
           scales_floats(k.scale) && k.bias >= 0 && moderate(k.bias);
}

// How the array is cut. Lines of a box's own axis stay whole; rows are cut where there are not
// slices enough for the threads, at the price of computing their edges twice.
void cut(Walk& walk, int threads, bool is_double, bool fixed) {
    const BoxTile& tile = walk.tile;
    const i64 width = tile.coefficients.before + tile.coefficients.after + 1;
    walk.lanes_of_a_piece = walk.lanes;
    if (tile.lane_before == 0 && tile.lane_after == 0) {
        const i64 fits = bytes_of_sums / (least(width, tile.rows) * tile.cells * (is_double ? 16 : 8));
        const i64 length = fits / enough_lanes * enough_lanes;
        walk.lanes_of_a_piece = least(walk.lanes, most(enough_lanes, least(length, most_lanes)));
    }
    walk.pieces_of_lanes = pieces_of(walk.lanes, walk.lanes_of_a_piece);
    walk.rows_of_a_piece = tile.rows;
    const i64 row = tile.cells * walk.lanes_of_a_piece, others = walk.slices * walk.pieces_of_lanes;
    if (fixed) {
        walk.rows_of_a_piece = most(pieces_of(elements_of_a_piece, row), 4 * width);
    } else if (threads > 1 && !tile.in_place && others < 8 * threads) {
        const i64 wanted = pieces_of(8 * threads, others);
        walk.rows_of_a_piece = most(pieces_of(tile.rows, wanted), 4 * width);
    }
    walk.rows_of_a_piece = least(walk.rows_of_a_piece, tile.rows);
    walk.pieces_of_rows = pieces_of(tile.rows, walk.rows_of_a_piece);
}

using Verb = BoxKernelTable::Pair BoxKernelTable::*;

bool run(const BoxProblem& problem, const Axes& axes, Verb verb, ParameterGradients* total) {
    if (axes.elements == 0) return true;
    Walk walk;
    BoxTile& tile = walk.tile;
    tile = {};
    tile.coefficients = {problem.scale, problem.beta, problem.bias, 0, 0};
    tile.power = power_of(problem.beta);
    for (int o = 0; o < operands; ++o) tile.data[o] = problem.data[o];
    tile.in_place = problem.data[X] == problem.data[out];
    tile.type = problem.type;
    const BoxKernelTable::Pair& kernels = box_kernels_in_use().*verb;
    walk.kernel = problem.type == Type::f64 ? kernels.wide : kernels.single;
    walk.item = item_size(problem.type);
    arrange(axes, problem.data, walk);
    tile.narrow = !total && narrow_enough(tile, problem.type);  // totals are promised to float64
    if (problem.fresh)
        platform::advise_large_pages(problem.data[out], std::size_t(axes.elements) * walk.item);
    int threads = problem.threads ? problem.threads : thread_count();
    if (axes.elements < elements_worth_sharing) threads = 1;
    cut(walk, threads, problem.type == Type::f64, total != nullptr);

    std::unique_ptr<ParameterGradients[]> partials;
    if (total) {
        partials.reset(new (std::nothrow) ParameterGradients[std::size_t(walk.pieces())]);
        if (!partials) return false;
        walk.partials = partials.get();
    }
    share(walk.pieces(), threads, [](const void* w, i64 i) { static_cast<const Walk*>(w)->piece(i); }, &walk);
    for (i64 i = 0; total && i < walk.pieces(); ++i) {
        total->scale += partials[i].scale;
        total->beta += partials[i].beta;
        total->bias += partials[i].bias;
    }
    return !walk.out_of_memory.load(std::memory_order_relaxed);
}

template <class Flat>
bool run(const BoxProblem& problem, Verb verb, Flat flat) {
    const Axes axes = clipped(problem);
    return axes.in_box < 2 ? flat(along_one_axis(problem, axes)) : run(problem, axes, verb, nullptr);
}

}  // namespace

bool forward(const BoxProblem& problem) {
    return run(problem, &BoxKernelTable::forward, [](const Problem& p) { return forward(p); });
}
bool vjp(const BoxProblem& problem) {
    return run(problem, &BoxKernelTable::vjp, [](const Problem& p) { return vjp(p); });
}
bool jvp(const BoxProblem& problem) {
    return run(problem, &BoxKernelTable::jvp, [](const Problem& p) { return jvp(p); });
}
bool parameters(const BoxProblem& problem, ParameterGradients& total) {
    const Axes axes = clipped(problem);
    if (axes.in_box < 2) return parameters(along_one_axis(problem, axes), total);
    total = {0, 0, 0};
    return run(problem, axes, &BoxKernelTable::parameters, &total);
}

}  // namespace lrn

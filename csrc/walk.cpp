// From an array to tiles: which axis supplies the pixels, how long the tiles are, which way a
// tile is computed, and the sharing of tiles among threads. No result depends on any of it,
// save the parameter gradients, whose tiles are therefore the same for any number of threads.
#include <atomic>
#include <memory>
#include <new>

#include "dispatch.h"
#include "platform.h"
#include "threads.h"
#include "tile.h"
#include "walk.h"

namespace lrn {

Power power_of(double beta) {
    constexpr struct { double beta; Power power; } chains[] = {
        {0.25, Power::quarter}, {0.5, Power::half}, {0.75, Power::three_quarter}, {1, Power::one},
        {1.25, Power::five_quarter}, {1.5, Power::three_half}, {1.75, Power::seven_quarter},
        {2, Power::two}, {3, Power::three}};
    for (const auto& chain : chains)
        if (beta == chain.beta) return chain.power;
    const double steepness = beta < 0 ? -beta : beta;
    return steepness <= 0.75 ? Power::general : steepness <= 3 ? Power::steep : Power::any;
}

namespace {

using i64 = std::int64_t;

// Below this many elements a call is over before another thread has woken.
constexpr i64 elements_worth_sharing = 1 << 15;
constexpr i64 longest_tile = 2048, longest_wide_tile = 512, shortest_tile = 16;
constexpr i64 bytes_of_sums = 256 << 10;    // what a wide tile's window may fill of the cache
constexpr i64 bytes_of_pixels = 192 << 10;  // of x, where each pixel has one sum
constexpr i64 elements_in_lines = 1 << 14;  // of a tile whose channels are contiguous
constexpr i64 few_channels = 7;             // up to which a sum for each window costs no more
constexpr i64 bytes_beyond_cache = 16 << 20;

struct Axis {
    i64 size, stride[operands];
};

i64 magnitude(i64 v) { return v < 0 ? -v : v; }

struct Walk {
    Tile tile;  // of the whole array: pixels are those of one run, data its first element
    Kernel kernel;
    Axis outer[max_rank];
    int rank = 0;
    i64 slices = 1, tile_pixels = 1, tiles_per_slice = 1;
    std::size_t item;
    ParameterGradients* partials = nullptr;
    mutable std::atomic<bool> out_of_memory{false};

    i64 pieces() const { return slices * tiles_per_slice; }

    void piece(i64 index) const {
        Tile t = tile;
        const i64 first = index % tiles_per_slice * tile_pixels;
        i64 slice = index / tiles_per_slice, offset[operands] = {};
        for (int a = rank - 1; a >= 0; --a) {
            for (int o = 0; o < operands; ++o) offset[o] += slice % outer[a].size * outer[a].stride[o];
            slice /= outer[a].size;
        }
        t.pixels = tile.pixels - first < tile_pixels ? tile.pixels - first : tile_pixels;
        for (int o = 0; o < operands; ++o)
            if (t.data[o])
                t.data[o] = static_cast<const char*>(t.data[o]) +
                            (offset[o] + first * tile.pixel_stride[o]) * i64(item);
        if (partials) t.partial = partials + index;
        const platform::CleanArithmetic clean;
        if (!kernel(t)) out_of_memory.store(true, std::memory_order_relaxed);
        if (t.stream) platform::finish_streaming();
        trim_scratch();
    }
};

// Float squares and sums keep the promised accuracy for short windows; their range asks for
// ordinary coefficients.
bool narrow_enough(const Coefficients& k, Power power, Type type) {
    return power != Power::any && type != Type::f64 && k.before + k.after < 5 &&
           scales_floats(k.scale) && k.bias >= 0 && moderate(k.bias);
}

bool grouped_enough(const Coefficients& k, Power power, Type type) {
    return power != Power::any && type != Type::f64 && k.before + k.after + 1 > direct_width &&
           scales_floats(k.scale) && moderate(k.bias);
}

// Drops axes of one, joins those that lie behind each other in every operand, and moves the one
// that supplies the pixels to the end.
void arrange(const Problem& problem, Walk& walk) {
    const auto used = [&](int o) { return problem.data[o] != nullptr; };
    int rank = 0;
    Axis axes[max_rank + 1];
    for (int a = 0; a < problem.rank; ++a) {
        if (problem.size[a] == 1) continue;
        Axis axis{problem.size[a], {}};
        for (int o = 0; o < operands; ++o) axis.stride[o] = used(o) ? problem.stride[a][o] : 0;
        int at = rank++;
        for (; at > 0 && magnitude(axes[at - 1].stride[X]) < magnitude(axis.stride[X]); --at)
            axes[at] = axes[at - 1];
        axes[at] = axis;
    }
    int joined = 0;
    for (int a = 0; a < rank; ++a) {
        bool behind = joined > 0;
        for (int o = 0; behind && o < operands; ++o)
            behind = axes[joined - 1].stride[o] == axes[a].size * axes[a].stride[o];
        if (behind) {
            const i64 outer_size = axes[joined - 1].size;
            axes[joined - 1] = axes[a];
            axes[joined - 1].size *= outer_size;
        } else {
            axes[joined++] = axes[a];
        }
    }
    if (joined == 0) axes[joined++] = Axis{1, {1, 1, 1}};

    int longest = 0, contiguous = -1;
    for (int a = 0; a < joined; ++a) {
        if (axes[a].size > axes[longest].size) longest = a;
        bool dense = true;
        for (int o = 0; o < operands; ++o) dense = dense && (!used(o) || axes[a].stride[o] == 1);
        if (dense) contiguous = a;
    }
    // The narrow forward kernel has a loop of its own for short rows.
    const i64 shortest = walk.tile.narrow && !used(second) && problem.type == Type::f32 ? 4 : shortest_tile;
    const bool enough = contiguous >= 0 && (axes[contiguous].size >= shortest ||
                                            axes[contiguous].size >= axes[longest].size);
    const int pixels = enough ? contiguous : longest;
    walk.tile.pixels = axes[pixels].size;
    for (int o = 0; o < operands; ++o) walk.tile.pixel_stride[o] = axes[pixels].stride[o];
    for (int a = 0; a < joined; ++a) {
        if (a == pixels) continue;
        walk.outer[walk.rank++] = axes[a];
        walk.slices *= axes[a].size;
    }
}

i64 longest_tile_of(const Tile& tile, Type type) {
    if (tile.whole) {  // read twice: from the second cache if it can be
        const i64 fits = bytes_of_pixels / (tile.channels * i64(item_size(type)));
        return fits < shortest_tile ? shortest_tile : fits < longest_tile ? fits / shortest_tile * shortest_tile : longest_tile;
    }
    if (tile.lines) return elements_in_lines / tile.channels + 1;
    if (tile.narrow) return longest_tile;
    const i64 width = tile.coefficients.before + tile.coefficients.after + 1;
    const i64 rows = width < tile.channels ? width : tile.channels;
    const i64 fits = bytes_of_sums / (rows * (type == Type::f64 ? 16 : 8));
    const i64 length = fits / shortest_tile * shortest_tile;
    return length < shortest_tile ? shortest_tile : length < longest_wide_tile ? length : longest_wide_tile;
}

using Verb = Kernel (KernelTable::*)[type_count];

bool run(const Problem& problem, Verb verb, ParameterGradients* total) {
    int threads = problem.threads ? problem.threads : thread_count();
    Walk walk;
    Tile& tile = walk.tile;
    tile = {};
    tile.coefficients = problem.coefficients;
    Coefficients& k = tile.coefficients;
    if (k.before > problem.channels - 1) k.before = problem.channels - 1;
    if (k.after > problem.channels - 1) k.after = problem.channels - 1;
    tile.power = power_of(k.beta);
    tile.narrow = narrow_enough(k, tile.power, problem.type);
    tile.whole = !tile.narrow && k.before == problem.channels - 1 && k.after == k.before && k.before >= few_channels;
    tile.grouped = !tile.narrow && !tile.whole && grouped_enough(k, tile.power, problem.type);
    tile.channels = problem.channels;
    for (int o = 0; o < operands; ++o) {
        tile.data[o] = problem.data[o];
        tile.channel_stride[o] = problem.data[o] ? problem.channel_stride[o] : 0;
    }
    tile.in_place = problem.data[X] == problem.data[out];
    walk.kernel = (kernels_in_use().*verb)[int(problem.type)];
    walk.item = item_size(problem.type);
    arrange(problem, walk);

    // Along a line, vectors run over the channels: there must be some to fill them.
    tile.lines = (tile.narrow || tile.whole) && tile.channels >= 16;
    for (int o = 0; o < operands; ++o)
        tile.lines = tile.lines && (!tile.data[o] || tile.channel_stride[o] == 1);

    const i64 elements = walk.slices * tile.pixels * tile.channels;
    if (elements == 0) return true;
    if (problem.fresh)
        platform::advise_large_pages(problem.data[out], std::size_t(elements) * walk.item);
    // Only where a kernel stores whole vectors of results anyway: a copy of them on their way costs more
    // than it saves. The system zeroes fresh pages as they are first written, which brings them into the cache.
    const bool f32 = problem.type == Type::f32;
    const bool vectors = tile.lines ? !tile.whole || f32 : (tile.narrow || tile.grouped) && f32 && tile.pixel_stride[out] == 1;
    tile.stream = platform::has_streaming_stores && vectors && !problem.fresh && tile.data[out] && !tile.data[second] &&
                  elements * i64(walk.item) > bytes_beyond_cache;
    if (elements < elements_worth_sharing) threads = 1;
    walk.tile_pixels = longest_tile_of(tile, problem.type);
    if (total) {  // the same for any number of threads
        if (walk.tile_pixels > longest_wide_tile && !tile.lines) walk.tile_pixels = longest_wide_tile;
    } else {
        // Enough tiles for every thread to find work until the end.
        const i64 wanted = (8 * threads + walk.slices - 1) / walk.slices;
        const i64 even = threads > 1 ? (tile.pixels + wanted - 1) / wanted : tile.pixels;
        const i64 fair = even < 64 ? 64 : (even + 15) / 16 * 16;
        if (fair < walk.tile_pixels) walk.tile_pixels = fair;
    }
    walk.tiles_per_slice = (tile.pixels + walk.tile_pixels - 1) / walk.tile_pixels;

    std::unique_ptr<ParameterGradients[]> partials;
    if (total) {
        partials.reset(new (std::nothrow) ParameterGradients[std::size_t(walk.pieces())]);
        if (!partials) return false;
        walk.partials = partials.get();
    }
    share(walk.pieces(), threads,
          [](const void* w, i64 i) { static_cast<const Walk*>(w)->piece(i); }, &walk);
    if (total)
        for (i64 i = 0; i < walk.pieces(); ++i) {
            total->scale += partials[i].scale;
            total->beta += partials[i].beta;
            total->bias += partials[i].bias;
        }
    return !walk.out_of_memory.load(std::memory_order_relaxed);
}

}  // namespace

i64 forward_period(Type type, const Coefficients& k) {
    const i64 width = k.before + k.after + 1;
    if (width <= direct_width) return 1;
    if (!grouped_enough(k, power_of(k.beta), type)) return width;
    const i64 blocks = (width - (group - 1)) / group;  // summed as a window over blocks
    return blocks <= direct_blocks ? group : group * blocks;
}

bool forward(const Problem& problem) { return run(problem, &KernelTable::forward, nullptr); }
bool vjp(const Problem& problem) { return run(problem, &KernelTable::vjp, nullptr); }
bool jvp(const Problem& problem) { return run(problem, &KernelTable::jvp, nullptr); }
bool parameters(const Problem& problem, ParameterGradients& total) {
    total = {0, 0, 0};
    return run(problem, &KernelTable::parameters, &total);
}
bool vjp_parameters(const Problem& problem, ParameterGradients& total) {
    total = {0, 0, 0};
    return run(problem, &KernelTable::vjp_parameters, &total);
}

}  // namespace lrn

// Forward over boxes of at most five rows by five lanes, where squares in float keep the accuracy
// promised. The sums are those of box_squares.hpp in the other order, without a ring: the rows around
// a line are added in float, and what they come to is read at shifted places and added in double.
//
//     3 by 3, row c:   line = x[c-1]^2 + x[c]^2 + x[c+1]^2     D[i] = bias + scale (line[i-1] + line[i] + line[i+1])
//
// Lines are often short, as pictures are: those that are read and written where they lie go through
// each loop several at a time, so that what a loop needs is set up once for all.
#pragma once

#include "box_exact.hpp"
#include "box_squares.hpp"
#include "energy.hpp"

namespace lrn {
namespace {

inline bool is_short(const BoxTile& tile) {
    const Coefficients& k = tile.coefficients;
    return tile.narrow && has_own_kernels(tile.power) && tile.inner_axes == 0 && k.before + k.after < direct_width &&
           tile.lane_before + tile.lane_after < direct_width;
}

// The sums of squares down the rows, for several lines at a time, with zeros around each.
class RowSquares {
public:
    static constexpr i64 most_lines = 8;

    explicit RowSquares(const BoxTile& tile)
        : tile(tile),
          before(tile.coefficients.before),
          height(before + tile.coefficients.after + 1),
          pitch(round_up(tile.lanes, float_lanes) + float_lanes) {}

    void place(Arena& arena) {
        lines = arena.take<float>(most_lines * pitch + float_lanes) + float_lanes;
        zeros = arena.take<float>(tile.lanes);
    }

    void begin() {
        std::memset(lines - float_lanes, 0, std::size_t(most_lines * pitch + float_lanes) * sizeof(float));
        std::memset(zeros, 0, std::size_t(tile.lanes) * sizeof(float));
    }

    // Adds the rows around c, c + 1, …
    void add(const BoxReader<float>& x, i64 c, i64 count) {
        with_squares(height, [&](auto rows) { add_rows<rows.value>(x, c, count); });
    }

    const float* line(i64 r) const { return lines + r * pitch; }

private:
    template <int rows>
    void add_rows(const BoxReader<float>& x, i64 c, i64 count) {
        const i64 n = tile.lanes;
        const auto at = [&](i64 r) { return r < 0 || r >= tile.rows ? zeros : x.line(r, 0); };
        float* to = lines;
        const float* row[rows + 1];
        for (int r = 1; r < rows; ++r) row[r] = at(c - before + r - 1);
        for (i64 last = c - before + rows - 1; last < c - before + rows - 1 + count; ++last, to += pitch) {
            row[rows] = at(last);
            for (int r = 0; r < rows; ++r) row[r] = row[r + 1];
            const auto sum = [&](auto get) { return sum_of_squares<rows>([&](int r) { return get(row[r]); }); };
            if (n < float_lanes) store(to, sum([&](const float* x) { return load_part(x, n); }));
            else for_whole_vectors(n, [&](i64 i) { store(to + i, sum([&](const float* x) { return load(x + i); })); });
        }
    }

    const BoxTile& tile;
    const i64 before, height, pitch;
    float *lines = nullptr, *zeros = nullptr;
};

class ShortBoxForward {
public:
    explicit ShortBoxForward(const BoxTile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          y(tile),
          squares(tile),
          lines_at_once(x.reads_in_place() && y.writes_in_place() ? RowSquares::most_lines : 1),
          finish(finish_for(tile)),
          numbers(k, tile.power, false, false),
          rare(tile),
          exact(tile, false, 1) {}

    void place(Arena& arena) {
        x.place(arena);
        y.place(arena);
        squares.place(arena);
        rare.place(arena);
        exact.place(arena);
    }

    void run() {
        x.begin();
        y.begin();
        squares.begin();
        i64 fetched = most(tile.first - k.before, 0);
        for (i64 c = tile.first, count; c < tile.last; c += count) {
            count = least(lines_at_once, tile.last - c);
            for (; fetched < least(c + count + k.after, tile.rows); ++fetched) x.fetch(fetched);
            squares.add(x, c, count);
            finish(*this, c, count);
        }
    }

private:
    // D of a vector of elements, from the line around them. The product of two floats rounds once,
    // in float as in double.
    template <int fixed>
    static vf energy(const float* line, int width, vd scale, vd bias) {
        Doubles sum = load_doubles(line);
        repeat<fixed ? fixed - 1 : 0>(width - 1, [&](int at) { sum = sum + load_doubles(line + at + 1); });
        return narrow(Doubles{fma(sum.low, scale, bias), fma(sum.high, scale, bias)});
    }

    // The outputs of `count` rows, from their lines of squares: one function for each power and width.
    using Finish = void (*)(ShortBoxForward&, i64 c, i64 count);
    static Finish finish_for(const BoxTile& tile) {
        switch (tile.power) {
            case Power::quarter: return of_width<Power::quarter>(tile);
            case Power::half: return of_width<Power::half>(tile);
            case Power::three_quarter: return of_width<Power::three_quarter>(tile);
            default: return of_width<Power::one>(tile);
        }
    }
    template <Power power>
    static Finish of_width(const BoxTile& tile) {
        const i64 width = tile.lane_before + tile.lane_after + 1;
        return width == 3 ? finish_rows<power, 3> : width == 5 ? finish_rows<power, 5> : finish_rows<power, 0>;
    }

    template <Power power, int fixed>
    LRN_LOOP static void finish_rows(ShortBoxForward& self, i64 c, i64 count) {
        const BoxTile& tile = self.tile;
        const i64 n = tile.lanes, before = tile.lane_before;
        const int width = int(before + tile.lane_after + 1);
        const vd scale = all(self.k.scale), bias = all(self.k.bias);
        const float lowest = float(self.numbers.plain.low), highest = float(self.numbers.plain.high);
        const float* own = self.x.line(c, 0);
        float* to = self.y.line(c, 0);
        for (i64 r = 0; r < count; ++r, own += tile.row_stride[X], to += tile.row_stride[out]) {
            const float* const line = self.squares.line(r) - before;
            Beyond far(lowest, highest);
            const auto result = [&](i64 i, vf v) {
                const vf d = energy<fixed>(line + i, width, scale, bias);
                far.add(d);
                return v * chain<power>(d);
            };
            if (n < float_lanes) store_part(to, result(0, load_part(own, n)), n);
            else for_whole_vectors(n, [&](i64 i) { store(to + i, result(i, load(own + i))); });
            if (self.lines_at_once == 1) self.y.done(c + r, 0);
            if (far.any()) [[unlikely]] self.repair(c + r, line);
        }
    }

    [[gnu::noinline]] void repair(i64 c, const float* line) {
        const int width = int(tile.lane_before + tile.lane_after + 1);
        const float lowest = float(numbers.plain.low), highest = float(numbers.plain.high);
        rare.clear();
        for (i64 i = 0; i < tile.lanes; i += float_lanes) {
            const vf d = energy<0>(line + i, width, all(k.scale), all(k.bias));
            if (const unsigned lanes = outside(d, all(lowest), all(highest))) rare.add(0, i, lanes);
        }
        replace_rare(c, rare, round_up(tile.lanes, float_lanes), x, y, exact, k);
    }

    const BoxTile& tile;
    const Coefficients& k;
    BoxReader<float> x;
    BoxWriter<float> y;
    RowSquares squares;
    const i64 lines_at_once;
    const Finish finish;
    const EnergyNumbers numbers;
    BoxRare rare;
    ExactSums exact;
};

inline bool run_short(const BoxTile& tile) { return run_in_scratch(ShortBoxForward(tile)); }

}  // namespace
}  // namespace lrn

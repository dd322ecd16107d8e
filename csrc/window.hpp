// Sums over a window that slides along the channels, by additions only: one value that leaves
// the window takes nothing with it.
//
// Up to `direct_width` rows are added afresh. Wider windows use blocks as wide as the window
// (van Herk, Gil and Werman): every window is the end of one block and the beginning of the
// next, so a row costs three additions whatever the width.
#pragma once

#include "power.hpp"
#include "rows.hpp"

namespace lrn {
namespace {

constexpr i64 direct_width = 5;

// What a sum is carried in: a double for inputs of 32 bits or less, whose products it holds
// exactly; two doubles, by error-free additions, for float64.
struct Single {
    static constexpr i64 parts = 1;
    vd sum;
    static Single product(vd a, vd b) { return {a * b}; }
    static Single load(const double* p, i64) { return {lrn::load(p)}; }
    void store(double* p, i64) const { lrn::store(p, sum); }
    Single operator+(Single b) const { return {sum + b.sum}; }
    Pair value() const { return {sum, vd{}}; }
};
struct Double {
    static constexpr i64 parts = 2;
    vd high, low;
    static Double product(vd a, vd b) {
        const Pair p = two_product(a, b);
        return {p.high, p.low};
    }
    static Double load(const double* p, i64 pitch) { return {lrn::load(p), lrn::load(p + pitch)}; }
    void store(double* p, i64 pitch) const {
        lrn::store(p, high);
        lrn::store(p + pitch, low);
    }
    Double operator+(Double b) const {
        const Pair s = two_sum(high, b.high);
        return {s.high, s.low + (low + b.low)};
    }
    Pair value() const { return fast_two_sum(high, low); }
};
template <class S>
struct sum_of {
    using type = Single;
};
template <>
struct sum_of<double> {
    using type = Double;
};
template <class S>
using Sum = typename sum_of<S>::type;

template <class A>
class Window {
public:
    Window(const Tile& tile, i64 before, i64 after)
        : before(before),
          width(before + after + 1),
          channels(tile.channels),
          pitch(round_up(tile.pixels, F)) {}

    void place(Arena& arena) {
        ring = arena.take<double>(least(width, channels) * A::parts * pitch);
        if (width > direct_width) prefix = arena.take<double>(A::parts * pitch);
    }

    // Where the terms of channel j go, two vectors of doubles at a time; ready(j) follows.
    void put(i64 j, i64 i, A low, A high) {
        double* row = slot(j);
        low.store(row + i, pitch);
        high.store(row + i + D, pitch);
    }

    // The terms of channel j as products of two rows of n inputs.
    template <class S>
    void put_products(i64 j, const S* a, const S* b, i64 n) {
        for (i64 i = 0; i < pitch; i += F) {
            const Doubles u = get_doubles(a, i, n), v = get_doubles(b, i, n);
            put(j, i, A::product(u.low, v.low), A::product(u.high, v.high));
        }
    }

    // Takes in channel j. Beyond the last channel there is nothing to take in, but blocks end.
    void ready(i64 j) {
        if (width <= direct_width) return;
        if (j < channels) {
            add_to(prefix, prefix_empty ? nullptr : prefix, slot(j));
            prefix_empty = false;
        }
        if (j % width == width - 1) {
            for (i64 k = least(j, channels - 1) - 1; k > j - width; --k)
                add_to(slot(k), slot(k + 1), slot(k));
            prefix_empty = true;
        }
    }

    // Sums the window that begins at channel c - before, once ready(c - before + width - 1). What
    // the rounding of a Double leaves over goes to `rest`, if that is wanted.
    void sum(i64 c, double* to, double* rest = nullptr) const {
        const double* rows[direct_width];
        int count = 0;
        const i64 first = c - before;
        if (width <= direct_width) {
            for (i64 j = most(first, 0); j <= least(first + width - 1, channels - 1); ++j)
                rows[count++] = slot(j);
        } else {
            if (first >= 0) rows[count++] = slot(first);
            if (!prefix_empty) rows[count++] = prefix;
        }
        switch (count) {
            case 1: return add<1>(rows, to, rest);
            case 2: return add<2>(rows, to, rest);
            case 3: return add<3>(rows, to, rest);
            case 4: return add<4>(rows, to, rest);
            default: return add<5>(rows, to, rest);
        }
    }

private:
    double* slot(i64 j) const { return ring + j % width * (A::parts * pitch); }

    void add_to(double* to, const double* a, const double* b) const {
        for (i64 i = 0; i < pitch; i += D) {
            const A right = A::load(b + i, pitch);
            (a ? A::load(a + i, pitch) + right : right).store(to + i, pitch);
        }
    }

    template <int count>
    void add(const double* const* rows, double* to, double* rest) const {
        for (i64 i = 0; i < pitch; i += D) {
            A sum = A::load(rows[0] + i, pitch);
            for (int k = 1; k < count; ++k) sum = sum + A::load(rows[k] + i, pitch);
            const Pair value = sum.value();
            store(to + i, value.high);
            if (A::parts == 2 && rest) store(rest + i, value.low);
        }
    }

    i64 before, width, channels, pitch;
    double* ring = nullptr;
    double* prefix = nullptr;
    bool prefix_empty = true;
};

}  // namespace
}  // namespace lrn

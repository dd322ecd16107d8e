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

// What a sum is carried in: a double for inputs of 32 bits or less, whose products it holds
// exactly; two doubles, by error-free additions, for float64.
struct Single {
    static constexpr i64 parts = 1;
    vd sum;
    static Single zero() { return {vd{}}; }
    static Single product(vd a, vd b) { return {a * b}; }
    static Single load(const double* p, i64) { return {lrn::load(p)}; }
    void store(double* p, i64) const { lrn::store(p, sum); }
    Single operator+(Single b) const { return {sum + b.sum}; }
    Pair value() const { return {sum, vd{}}; }
};
struct Double {
    static constexpr i64 parts = 2;
    vd high, low;
    static Double zero() { return {vd{}, vd{}}; }
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

struct Pairs {  // the sums of as many pixels as there are floats in a vector
    Pair low, high;
};

template <class A, i64 direct = direct_width>  // widths up to which rows are added afresh
class Window {
public:
    Window(const Tile& tile, i64 before, i64 after)
        : before(before),
          width(before + after + 1),
          channels(tile.channels),
          pitch(round_up(tile.pixels, float_lanes)) {}

    // A window of `width` rows that begins at the row asked for, over rows of any kind.
    Window(i64 rows, i64 width, i64 pixels)
        : before(0), width(width), channels(rows), pitch(round_up(pixels, float_lanes)) {}

    void place(Arena& arena) {
        ring = arena.take<double>(least(width, channels) * A::parts * pitch);
        if (width > direct) prefix = arena.take<double>(A::parts * pitch);
    }

    // Where the terms of channel j go, two vectors of doubles at a time; end(j) follows.
    struct Into {
        double *slot, *prefix;  // prefix is null where windows are summed directly
        i64 pitch;
        bool first;
        void put(i64 i, A low, A high) const {
            put_one(i, low);
            put_one(i + double_lanes, high);
        }
        void put_one(i64 i, A term) const {
            term.store(slot + i, pitch);
            if (prefix) (first ? term : A::load(prefix + i, pitch) + term).store(prefix + i, pitch);
        }
    };
    Into into(i64 j) const { return {slot(j), width > direct ? prefix : nullptr, pitch, prefix_empty}; }

    // The terms of channel j as products of two rows of n inputs.
    template <class S>
    void put_products(i64 j, const S* a, const S* b, i64 n) {
        const Into to = into(j);
        for (i64 i = 0; i < n; i += float_lanes) {
            const Doubles u = get_doubles(a, i, n), v = a == b ? u : get_doubles(b, i, n);
            to.put(i, A::product(u.low, v.low), A::product(u.high, v.high));
        }
    }

    // Channel j is in. Beyond the last channel there is nothing to put, but blocks end there too.
    void end(i64 j) {
        prefix_empty = prefix_empty && j >= channels;
        if (width <= direct || j % width != width - 1) return;
        for (i64 k = least(j, channels - 1) - 1; k > j - width; --k) {
            double *to = slot(k), *next = slot(k + 1);
            for (i64 i = 0; i < pitch; i += double_lanes)
                (A::load(to + i, pitch) + A::load(next + i, pitch)).store(to + i, pitch);
        }
        prefix_empty = true;
    }

    // The rows whose sum is that of the window that begins at channel c - before; wanted once
    // end(c - before + width - 1) has been called.
    class Rows {
    public:
        // Most windows have a fixed number of rows: for those the loop is unrolled.
        template <int fixed>
        LRN_INLINE Pairs at(i64 i, bool both = true) const {
            const Pair low = one<fixed>(i);
            return {low, both ? one<fixed>(i + double_lanes) : low};
        }
        const double* row(int k) const { return rows[k]; }
        int count = 0;

    private:
        template <int fixed>
        LRN_INLINE Pair one(i64 i) const {
            A sum = A::load(rows[0] + i, pitch);
            if constexpr (fixed > 0)
                for (int k = 1; k < fixed; ++k) sum = sum + A::load(rows[k] + i, pitch);
            else
                for (int k = 1; k < count; ++k) sum = sum + A::load(rows[k] + i, pitch);
            return sum.value();
        }
        friend class Window;
        const double* rows[direct];
        i64 pitch;
    };

    Rows rows(i64 c) const {
        Rows r;
        r.pitch = pitch;
        const i64 first = c - before;
        if (width <= direct) {
            for (i64 j = most(first, 0); j <= least(first + width - 1, channels - 1); ++j)
                r.rows[r.count++] = slot(j);
        } else {
            if (first >= 0) r.rows[r.count++] = slot(first);
            if (!prefix_empty) r.rows[r.count++] = prefix;
        }
        return r;
    }

private:
    double* slot(i64 j) const { return ring + j % width * (A::parts * pitch); }

    i64 before, width, channels, pitch;
    double* ring = nullptr;
    double* prefix = nullptr;
    bool prefix_empty = true;
};

template <int n>
struct Count {
    static constexpr int value = n;
};

// Calls body with the number of rows fixed where it is a common one, else with 0.
template <class Body>
inline void with_count(int count, Body body) {
    if (count == 5) body(Count<5>{});
    else if (count == 2) body(Count<2>{});
    else body(Count<0>{});
}

}  // namespace
}  // namespace lrn

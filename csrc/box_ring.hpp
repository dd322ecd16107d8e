// Sums over the height of a box: the ring of its last rows.
#pragma once

#include "window.hpp"

#include <utility>

namespace lrn {
namespace {

// Calls step(0), step(1), … `count` times: without a loop where the count is fixed.
template <int fixed, class Step>
LRN_INLINE void repeat(int count, Step step) {
    if constexpr (fixed) {
        [&]<int... k>(std::integer_sequence<int, k...>) { (step(k), ...); }(std::make_integer_sequence<int, fixed>{});
    } else {
        for (int k = 0; k < count; ++k) step(k);
    }
}

// The last rows of a box, and sums over its height: up to `direct_width` rows are added afresh, of
// more there are running sums from either end of a block, as in window.hpp. Here a row is taken
// in through a writer of its own, whose pointers stay in registers.
template <class A>
class BoxRing {
public:
    BoxRing(i64 rows, i64 length, i64 before, i64 after)
        : before(before),
          width(before + after + 1),
          count(rows),
          length(length),
          apart((round_up(A::parts * length, line_of_cache) / line_of_cache | 1) * line_of_cache) {}

    void place(Arena& arena) {
        ring = arena.take<double>(least(width, count) * apart);
        if (width > direct_width) prefix = arena.take<double>(A::parts * length);
    }

    void begin() { clear_prefix(); }

    class Taker {
    public:
        void put(i64 i, A low, A high) const {
            low.store(to + i, length);
            high.store(to + i + double_lanes, length);
            if (!prefix) return;
            add(i, low);
            add(i + double_lanes, high);
        }

    private:
        friend class BoxRing;
        Taker(double* to, double* prefix, i64 length) : to(to), prefix(prefix), length(length) {}
        void add(i64 i, A term) const { (A::load(prefix + i, length) + term).store(prefix + i, length); }
        double *to, *prefix;
        i64 length;
    };

    // Takes the terms of row j in; end(j) follows.
    Taker row(i64 j) const { return Taker(slot(j), prefix, length); }

    // Row j is in. Beyond the last row there is nothing to put, but blocks end there too.
    LRN_LOOP void end(i64 j) {
        prefix_empty = prefix_empty && j >= count;
        if (width <= direct_width || j % width != width - 1) return;
        // Row j - width + 1 is in the ring's first place. A vector goes through all rows before the next
        // one: its sum stays in a register.
        const i64 n = length, apart = this->apart, last = least(j, count - 1) - (j - width + 1);
        for (i64 i = 0; i < n && last > 0; i += float_lanes) {
            A low = A::load(ring + last * apart + i, n), high = A::load(ring + last * apart + i + double_lanes, n);
            for (i64 k = last - 1; k >= 0; --k) {
                double* const row = ring + k * apart + i;
                low = A::load(row, n) + low;
                high = A::load(row + double_lanes, n) + high;
                low.store(row, n);
                high.store(row + double_lanes, n);
            }
        }
        clear_prefix();
    }

    // The rows whose sum is that of the window around row c.
    class Rows {
    public:
        template <int fixed>
        Pairs at(i64 i, bool both = true) const {
            const Pair low = one<fixed>(i);
            return {low, both ? one<fixed>(i + double_lanes) : low};
        }
        int count = 0;

    private:
        A row(int k, i64 i) const { return A::load(rows[k] + i, length); }
        template <int fixed>
        Pair one(i64 i) const {
            A sum = row(0, i);
            repeat<fixed ? fixed - 1 : 0>(count - 1, [&](int k) { sum = sum + row(k + 1, i); });
            return sum.value();
        }
        friend class BoxRing;
        const double* rows[direct_width];
        i64 length;
    };

    Rows rows(i64 c) const {
        Rows r;
        r.length = length;
        const i64 first = c - before;
        if (width <= direct_width) {
            i64 j = most(first, 0), at = j % width;
            for (const i64 last = least(first + width - 1, count - 1); j <= last; ++j) {
                r.rows[r.count++] = ring + at * apart;
                if (++at == width) at = 0;
            }
        } else {
            if (first >= 0) r.rows[r.count++] = slot(first);
            if (!prefix_empty) r.rows[r.count++] = prefix;
        }
        return r;
    }

private:
    void clear_prefix() {
        prefix_empty = true;
        if (prefix) std::memset(prefix, 0, std::size_t(A::parts * length) * sizeof(double));
    }
    double* slot(i64 j) const { return ring + j % width * apart; }

    // Rows are an odd number of cache lines apart. Going down a column, other distances would use few
    // places of the cache.
    static constexpr i64 line_of_cache = line_bytes / i64(sizeof(double));
    i64 before, width, count, length, apart;
    double* ring = nullptr;
    double* prefix = nullptr;
    bool prefix_empty = true;
};

// Calls body with the number of rows fixed where it is a common one, else, or where it never is, with
// 0. The general power takes so long that a loop over the rows does not show.
template <bool fixed, class Body>
inline void with_rows(int count, Body body) {
    if constexpr (!fixed) body(Count<0>{});
    else if (count == 2) body(Count<2>{});
    else if (count == 3) body(Count<3>{});
    else if (count == 5) body(Count<5>{});
    else body(Count<0>{});
}

}  // namespace
}  // namespace lrn

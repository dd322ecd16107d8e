// Float arithmetic for windows of at most direct_width channels: what the forward and the
// backward pass share. Rows are read where they lie, five at a time.
#pragma once

#include "careful.hpp"
#include "rows.hpp"
#include "window.hpp"

namespace lrn {
namespace {

// The rows of a window around one channel: rows[0..direct_width), zeros where it has fewer.
struct NarrowRows {
    const float* row[direct_width];
    int own;  // the channel itself
    const float* ahead;  // the row that the next channel's window will take in
};

// The rows of the window around channel c. row_at(channel) gives the row of a channel that exists.
template <class T, class RowAt>
inline void rows_around(i64 c, i64 before, i64 after, i64 channels, const T* zeros, RowAt row_at,
                        const T* (&rows)[direct_width]) {
    for (i64 r = 0; r < direct_width; ++r) {
        const i64 from = c - before + r;
        rows[r] = r > before + after || from < 0 || from >= channels ? zeros : row_at(from);
    }
}

// A line of contiguous channels with zeros around it, as far as whole vectors of a shifted line
// reach: its window is the line at shifted places.
template <class T>
struct PaddedLine {
    static_assert(direct_width - 1 <= float_lanes);
    void place(Arena& arena, i64 channels) {
        count = channels;
        line = arena.take<T>(length());
        zeros = arena.take<T>(length());
    }
    void clear() {
        std::memset(line, 0, std::size_t(length()) * sizeof(T));
        std::memset(zeros, 0, std::size_t(length()) * sizeof(T));
    }
    // Sets what lies behind the line, where whole vectors wrote, back to zero.
    void clear_end() {
        std::memset(own() + count, 0, std::size_t(length() - float_lanes - count) * sizeof(T));
    }
    T* own() const { return line + float_lanes; }
    const T* shifted(i64 r, i64 before, i64 after) const {
        return r > before + after ? zeros : own() - before + r;
    }
    i64 length() const { return round_up(count, float_lanes) + 2 * float_lanes; }

    i64 count = 0;
    T *line = nullptr, *zeros = nullptr;
};

struct NarrowPowers {
    vf d, power;
    unsigned beyond;  // lanes whose D cannot be trusted, or is nan
};

// D, and its power to as many digits as a result of S has.
template <Power power, class S>
class NarrowEnergy {
public:
    // Copies that stay in registers: for all the compiler knows, a store to a row changes `numbers`.
    explicit NarrowEnergy(const Numbers& numbers)
        : scale(numbers.k.scale), bias(numbers.k.bias), lowest(numbers.lowest), limit(numbers.limit),
          exponent(numbers.exponent) {}

    // get(row) gives a vector of each of the window's rows.
    template <class Get>
    NarrowPowers operator()(const NarrowRows& rows, Get get) const {
        NarrowPowers result;
        if constexpr (is_steep(power)) {
            const Doubles d = wide_energy<has_fma && !(power == Power::steep || power == Power::three || power == Power::seven_quarter)>(rows, get);
            result.d = narrow(d);
            if constexpr (power == Power::two)
                result.power = reciprocal(narrow(Doubles{d.low * d.low, d.high * d.high}));
            else if constexpr (power == Power::three)
                result.power = reciprocal(narrow(Doubles{d.low * d.low * d.low, d.high * d.high * d.high}));
        } else {
            const vf sum = squares(get(rows.row[0]), get(rows.row[4]), get(rows.row[2])) +
                           squares(get(rows.row[1]), get(rows.row[3]));
            result.d = fma(sum, all(float(scale)), all(float(bias)));
        }
        result.beyond = beyond(result.d, lowest, limit);
        if constexpr (!is_chain(power)) result.power = power_float<power == Power::steep>(result.d, exponent);
        else if constexpr (power != Power::two && power != Power::three)
            result.power = chain<power, digits_of<S>>(result.d);
        return result;
    }

    // D in double. In float, two or three squares come to 1.8 units of D, for powers that leave
    // room for it, and only where a product and a sum round once.
    template <bool first_in_float = false, class Get>
    Doubles wide_energy(const NarrowRows& rows, Get get) const {
        const Doubles sum = wide_sum<first_in_float>(rows, get);
        return {fma(sum.low, all(scale), all(bias)), fma(sum.high, all(scale), all(bias))};
    }

    template <bool first_in_float = false, class Get>
    static Doubles wide_sum(const NarrowRows& rows, Get get) {
        const auto sum = [&](auto... row) -> Doubles {
            if constexpr (first_in_float) return widen(squares(get(row)...));
            else return {squares(widen(get(row)).low...), squares(widen(get(row)).high...)};
        };
        const Doubles a = sum(rows.row[0], rows.row[4], rows.row[2]), b = sum(rows.row[1], rows.row[3]);
        return {a.low + b.low, a.high + b.high};
    }

    const double scale, bias;
    const float lowest, limit;
    const FloatExponent exponent;

private:
    template <class V, class... Rest>
    static V squares(V first, Rest... rest) {
        V sum = first * first;
        ((sum = fma(rest, rest, sum)), ...);
        return sum;
    }
};

}  // namespace
}  // namespace lrn

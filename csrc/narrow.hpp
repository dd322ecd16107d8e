// Float arithmetic for windows of at most direct_width channels: what the forward and the
// backward pass share. Rows are read where they lie, five at a time.
#pragma once

#include "power.hpp"
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
    explicit NarrowEnergy(const Coefficients& k)
        : k(k), scale(float(k.scale)), bias(float(k.bias)), exponent(k.beta) {}

    // get(row) gives a vector of each of the window's rows.
    template <class Get>
    NarrowPowers operator()(const NarrowRows& rows, Get get) const {
        const vf x0 = get(rows.row[0]), x1 = get(rows.row[1]), x2 = get(rows.row[2]),
                 x3 = get(rows.row[3]), x4 = get(rows.row[4]);
        NarrowPowers result;
        if constexpr (power == Power::two) {
            const Doubles a = wide_squares(x0, x4, x2), b = wide_squares(x1, x3);
            const Doubles d = {fma(a.low + b.low, all(k.scale), all(k.bias)),
                               fma(a.high + b.high, all(k.scale), all(k.bias))};
            const vf squared = narrow({d.low * d.low, d.high * d.high});
            result.d = narrow(d);
            result.power = reciprocal(squared);
            result.beyond = beyond(squared, 1 / (limit * limit), limit * limit);
        } else {
            const vf sum = squares(x0, x4, x2) + squares(x1, x3);
            result.d = fma(sum, all(scale), all(bias));
            result.beyond = beyond(result.d, 1 / limit, limit);
            if constexpr (power == Power::general) result.power = power_float(result.d, exponent);
            else result.power = chain<power, digits_of<S>>(result.d);
        }
        return result;
    }

    // Of those lanes the ones for scalar.cpp: nan gives nan.
    static unsigned rare(const NarrowPowers& p) { return outside(p.d, all(1 / limit), all(limit)); }

private:
    static constexpr float limit = chain_limit(power);

    template <class V, class... Rest>
    static V squares(V first, Rest... rest) {
        V sum = first * first;
        ((sum = fma(rest, rest, sum)), ...);
        return sum;
    }

    // For beta 2 the errors of D count twice. In float two or three squares are added before they
    // are widened, 1.8 units of D in all, and only where a product and a sum round once.
    template <class... Rows>
    static Doubles wide_squares(Rows... rows) {
        if constexpr (has_fma) return widen(squares(rows...));
        else return {squares(widen(rows).low...), squares(widen(rows).high...)};
    }

    const Coefficients& k;
    float scale, bias;
    FloatExponent exponent;
};

}  // namespace
}  // namespace lrn

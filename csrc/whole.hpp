// Windows that hold the whole axis: one sum a pixel, whatever the channel (RMSNorm and PixelNorm
// are such). With S = sum x², G = sum g x, D = bias + scale S and P = D^-beta, every pixel has
//
//     y = x P      dx = g P - x T,  T = 2 scale beta (P / D) G      dy likewise, from the tangent
//     scale: -beta sum (P / D) G S      beta: -sum P G ln D      bias: -beta sum (P / D) G
//
// Two passes over a tile: sums, then results.
#pragma once

#include "careful.hpp"
#include "energy.hpp"
#include "window.hpp"

namespace lrn {
namespace {

enum class Whole { forward, derivative, parameters };

// Sums along the channels of one quantity, for each pixel of a tile, in the parts of A.
template <class A>
class PixelSums {
public:
    void place(Arena& arena, i64 to_pitch) {
        pitch = to_pitch;
        sums = arena.take<double>(A::parts * pitch);
    }
    void clear() { std::memset(sums, 0, std::size_t(A::parts * pitch) * sizeof(double)); }
    void add(i64 i, Doubles a, Doubles b) {
        (A::load(sums + i, pitch) + A::product(a.low, b.low)).store(sums + i, pitch);
        (A::load(sums + i + double_lanes, pitch) + A::product(a.high, b.high)).store(sums + i + double_lanes, pitch);
    }
    void set(i64 p, double high, double low) {
        sums[p] = high;
        if constexpr (A::parts == 2) sums[pitch + p] = low;
    }
    Pairs at(i64 i) const { return {A::load(sums + i, pitch).value(), A::load(sums + i + double_lanes, pitch).value()}; }

private:
    i64 pitch = 0;
    double* sums = nullptr;
};

// The sum of a_c b_c along a line of contiguous channels, lane by lane, then across the lanes.
template <class A>
struct LineSum {
    A part[4] = {A::zero(), A::zero(), A::zero(), A::zero()};

    void add(int at, Doubles a, Doubles b) {
        part[at] = part[at] + A::product(a.low, b.low);
        part[at + 1] = part[at + 1] + A::product(a.high, b.high);
    }
    Pair total() const {
        const A sum = (part[0] + part[2]) + (part[1] + part[3]);
        const Pair lanes = sum.value();
        double high = 0, low = 0;
        for (int l = 0; l < double_lanes; ++l) {
            const double s = high + lanes.high[l], t = s - high;
            if constexpr (A::parts == 2) low += ((high - (s - t)) + (lanes.high[l] - t)) + lanes.low[l];
            high = s;
        }
        return {all(high), all(low)};
    }
};

template <class S, Whole what>
class WholeAxis {
public:
    static constexpr bool is_double = sizeof(S) == 8, has_second = what != Whole::forward;

    explicit WholeAxis(const Tile& tile)
        : tile(tile), k(tile.coefficients), pitch(round_up(tile.pixels, float_lanes)), x(tile, X, 1),
          g(tile, has_second ? second : X, 1), y(tile), lines(tile), energy(k), numbers(k, Power::any, has_second) {}

    void place(Arena& arena) {
        x.place(arena);
        if (has_second) g.place(arena);
        if (what != Whole::parameters) y.place(arena), lines.place(arena);
        squares.place(arena, pitch);
        if (has_second) products.place(arena, pitch);
        factor = arena.take<double>(pitch);
        if (has_second) through = arena.take<double>(pitch);
        if (what == Whole::parameters)
            for (double*& row : terms) row = arena.take<double>(pitch);
        else if (!is_double) narrow_factor = arena.take<float>(pitch);
        rare.place(arena, tile.pixels);
        column = arena.take<double>(2 * tile.channels);
        scalars = arena.take<scalar::Pixel>(tile.pixels);
    }

    void run() {
        if (tile.lines) add_lines();
        else add_rows();
        finish_pixels();
        if constexpr (what == Whole::parameters) {
            add_terms();
        } else {
            for (i64 p : rare) {
                load_column(p);
                scalars[p] = scalar::whole(column, has_second ? column + tile.channels : nullptr, tile.channels, k);
            }
            if (tile.lines) put_lines();
            else put_rows();
        }
    }

private:
    // ---- sums ----

    void add_rows() {
        squares.clear();
        if (has_second) products.clear();
        const i64 n = tile.pixels;
        for (i64 c = 0; c < tile.channels; ++c) {
            x.fetch(c);
            if (has_second) g.fetch(c);
            const S *own = x.at(c), *ahead = x.ahead(c + 1);
            const S *other = has_second ? g.at(c) : own, *other_ahead = has_second ? g.ahead(c + 1) : ahead;
            for (i64 i = 0; i < n; i += float_lanes) {
                __builtin_prefetch(ahead + i);
                if (has_second) __builtin_prefetch(other_ahead + i);
                add(i, get_doubles(own, i, n), has_second ? get_doubles(other, i, n) : Doubles{}, n);
            }
        }
    }

    void add(i64 i, Doubles v, Doubles u, i64 n) {
        squares.add(i, v, v);
        if (has_second) products.add(i, v, u);
        if constexpr (is_double) {
            const unsigned lanes = unwieldy<S>(v) | (has_second ? unwieldy<S>(u) : 0);
            if (lanes) note_unwieldy(i, lanes, n);
        }
    }

    void add_lines() {
        const i64 n = tile.channels, step = 2 * float_lanes;
        for (i64 p = 0; p < tile.pixels; ++p) {
            const S* own = element<S>(tile, X, 0, p);
            const S* other = has_second ? element<S>(tile, second, 0, p) : own;
            LineSum<Sum<S>> a, b;
            unsigned odd = 0;
            const auto add_at = [&](int part, i64 i) {
                const Doubles v = get_doubles(own, i, n), u = has_second ? get_doubles(other, i, n) : v;
                a.add(part, v, v);
                if (has_second) b.add(part, v, u);
                if constexpr (is_double) odd |= unwieldy<S>(v) | (has_second ? unwieldy<S>(u) : 0);
            };
            i64 i = 0;
            for (; i + step <= n; i += step) {
                add_at(0, i);
                add_at(2, i + float_lanes);
            }
            for (; i < n; i += float_lanes) add_at(0, i);
            const Pair s = a.total();
            squares.set(p, s.high[0], s.low[0]);
            if (has_second) {
                const Pair t = b.total();
                products.set(p, t.high[0], t.low[0]);
            }
            if (odd) note_unwieldy(p / float_lanes * float_lanes, 1u << p % float_lanes, tile.pixels);
        }
    }

    // A pixel that holds a number whose products leave the range of double: once is enough.
    void note_unwieldy(i64 i, unsigned lanes, i64 n) {
        if (!any_odd) std::memset(factor, 0, std::size_t(pitch) * sizeof(double));
        any_odd = true;
        for (; lanes; lanes &= lanes - 1)
            if (i + __builtin_ctz(lanes) < n) factor[i + __builtin_ctz(lanes)] = 1;
    }

    // ---- each pixel's numbers ----

    void finish_pixels() {
        rare.clear();
        const i64 n = tile.pixels;
        for (i64 i = 0; i < n; i += float_lanes) {
            const Pairs s = squares.at(i);
            const Powers p = powers(s);
            unsigned lanes = p.rare;
            if (any_odd) lanes |= outside(load(factor + i), vd{}, vd{}) | outside(load(factor + i + double_lanes), vd{}, vd{}) << double_lanes;
            store(factor + i, p.power.low);
            store(factor + i + double_lanes, p.power.high);
            if constexpr (what == Whole::forward && !is_double) {
                const vf narrowed = narrow(p.power);
                store(narrow_factor + i, narrowed);
                any_wide = any_wide || outside(narrowed, all(1 / float_reach), all(float_reach));
            }
            if constexpr (has_second) {
                const Pairs t = products.at(i);
                const vd slope_low = p.power.low * p.inverse.low * t.low.high, slope_high = p.power.high * p.inverse.high * t.high.high;
                if constexpr (what == Whole::derivative) {
                    const vd f = all(2 * k.scale * k.beta);
                    store(through + i, slope_low * f);
                    store(through + i + double_lanes, slope_high * f);
                } else {
                    put_terms(i, slope_low, p.power.low * t.low.high, p.d.low, s.low.high);
                    put_terms(i + double_lanes, slope_high, p.power.high * t.high.high, p.d.high, s.high.high);
                }
            }
            if (lanes) rare.add(i, lanes, n);
        }
    }

    Powers powers(Pairs s) const {
        if constexpr (is_double) {
            return energy(s);
        } else {
            Powers p;
            p.d = {fma(s.low.high, all(k.scale), all(k.bias)), fma(s.high.high, all(k.scale), all(k.bias))};
            p.power = wide_power<Power::any>(p.d, numbers);
            p.inverse = {all(1.0) / p.d.low, all(1.0) / p.d.high};
            p.rare = numbers.beyond(p.d);
            return p;
        }
    }

    void put_terms(i64 i, vd slope, vd h, vd d, vd sum) {
        constexpr double ln2 = 0x1.62e42fefa39efp-1;
        store(terms[0] + i, slope * sum * -k.beta);
        store(terms[1] + i, -h * (log2_of(d) * ln2));
        store(terms[2] + i, slope * -k.beta);
    }

    void add_terms() {
        const i64 n = tile.channels;
        *tile.partial = {0, 0, 0};
        for (i64 p : rare) {
            load_column(p);
            const ParameterGradients total = scalar::whole_parameters(column, column + n, n, k);
            terms[0][p] = total.scale;
            terms[1][p] = total.beta;
            terms[2][p] = total.bias;
        }
        for (i64 p = 0; p < tile.pixels; ++p) {
            tile.partial->scale += terms[0][p];
            tile.partial->beta += terms[1][p];
            tile.partial->bias += terms[2][p];
        }
    }

    // ---- results ----

    // What x (and g) become: v P, or u P - v T.
    Doubles result(Doubles v, Doubles u, Doubles p, Doubles t) const {
        if constexpr (!has_second) return {v.low * p.low, v.high * p.high};
        const Doubles direct = {u.low * p.low, u.high * p.high};
        if (k.scale == 0 || k.beta == 0) return direct;  // else nothing comes through, not even nan
        return {fnma(v.low, t.low, direct.low), fnma(v.high, t.high, direct.high)};
    }

    void put_rows() {
        const i64 n = tile.pixels;
        for (i64 c = 0; c < tile.channels; ++c) {
            x.fetch(c);
            if (has_second) g.fetch(c);
            const S *own = x.at(c), *other = has_second ? g.at(c) : own;
            S* to = y.row(c);
            if constexpr (what == Whole::forward && !is_double) {
                if (any_wide)
                    for (i64 i = 0; i < n; i += float_lanes) put(to, i, n, wide_result(get(own, i, n), i));
                else
                    for (i64 i = 0; i < n; i += float_lanes) put(to, i, n, get(own, i, n) * load(narrow_factor + i));
            } else {
                for (i64 i = 0; i < n; i += float_lanes) {
                    const Doubles p = {load(factor + i), load(factor + i + double_lanes)};
                    Doubles u{}, t{};
                    if constexpr (has_second) {
                        u = get_doubles(other, i, n);
                        t = {load(through + i), load(through + i + double_lanes)};
                    }
                    put_doubles(to, i, n, result(get_doubles(own, i, n), u, p, t));
                }
            }
            for (i64 p : rare) put_one(to + p, scalar::output(one(own + p), has_second ? one(other + p) : 0, scalars[p], has_second));
            y.done(c);
        }
    }

    // Where the power leaves float, though the result need not.
    vf wide_result(vf v, i64 i) const {
        const vf factors = load(narrow_factor + i);
        const Doubles x = widen(v);
        const vf better = narrow(Doubles{x.low * load(factor + i), x.high * load(factor + i + double_lanes)});
        return ((factors >= 1 / float_reach) & (factors <= float_reach)) ? v * factors : better;
    }

    void put_lines() {
        const i64* next_rare = rare.begin();
        for (i64 p = 0; p < tile.pixels; ++p) {
            const S* own = element<S>(tile, X, 0, p);
            const S* other = has_second ? element<S>(tile, second, 0, p) : own;
            S* to = lines.line(p);
            if (next_rare != rare.end() && *next_rare == p) {
                ++next_rare;
                put_rare_line(p, own, other, to);
            } else {
                put_line(p, own, other, to);
            }
            lines.done(p);
        }
    }

    void put_rare_line(i64 p, const S* own, const S* other, S* to) const {
        for (i64 c = 0; c < tile.channels; ++c)
            put_one(to + c, scalar::output(one(own + c), has_second ? one(other + c) : 0, scalars[p], has_second));
    }

    LRN_INLINE void put_line(i64 p, const S* own, const S* other, S* to) const {
        const i64 n = tile.channels;
        if constexpr (what == Whole::forward && !is_double) {
            const float narrowed = narrow_factor[p];
            if (narrowed >= 1 / float_reach && narrowed <= float_reach) {
                for (i64 i = 0; i < n; i += float_lanes) put(to, i, n, get(own, i, n) * all(narrowed));
                return;
            }
        }
        const Doubles f = {all(factor[p]), all(factor[p])};
        Doubles t{};
        if constexpr (has_second) t = {all(through[p]), all(through[p])};
        for (i64 i = 0; i < n; i += float_lanes)
            put_doubles(to, i, n, result(get_doubles(own, i, n), has_second ? get_doubles(other, i, n) : Doubles{}, f, t));
    }

    // A pixel's channels as doubles: those of x, then those of the second operand.
    void load_column(i64 p) {
        const i64 n = tile.channels;
        for (i64 c = 0; c < n; ++c) {
            column[c] = one(element<S>(tile, X, c, p));
            if (has_second) column[n + c] = one(element<S>(tile, second, c, p));
        }
    }

    static constexpr float float_reach = 0x1p100f;  // of a power in float

    const Tile& tile;
    const Coefficients& k;
    const i64 pitch;
    History<S> x, g;
    Writer<S> y;           // of rows
    LineWriter<S> lines;  // of lines, where they are contiguous
    PixelSums<Sum<S>> squares, products;
    Energy<S, Power::any> energy;
    Numbers numbers;
    double *factor = nullptr, *through = nullptr, *terms[3] = {}, *column = nullptr;
    float* narrow_factor = nullptr;
    scalar::Pixel* scalars = nullptr;
    Rare rare;
    bool any_odd = false, any_wide = false;
};

}  // namespace
}  // namespace lrn

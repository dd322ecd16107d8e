// dx[c] = g[c] D[c]^-beta - 2 scale beta x[c] * sum over m of g[m] x[m] D[m]^(-beta-1), where m
// runs over the mirrored window: the channels whose own window holds c.
#pragma once

#include "energy.hpp"
#include "narrow.hpp"
#include "rare_outputs.hpp"
#include "whole.hpp"
#include "window.hpp"

namespace lrn {
namespace {

// dx = direct - factor * own * (the sum of the mirrored window's rows of `through`), of one row.
// sum_at(i) gives a vector of these sums.
template <class R, class S, class SumAt>
inline void put_gradients(double factor, const R* own, const double* direct, SumAt sum_at, S* to, i64 n) {
    const vd f = all(factor);
    for (i64 i = 0; i < n; i += float_lanes) {
        Doubles result = {load(direct + i), load(direct + i + double_lanes)};
        if (factor != 0) {  // else nothing comes through, not even nan
            const Doubles x = get_doubles(own, i, n), sum = sum_at(i);
            result = {fnma(f * x.low, sum.low, result.low), fnma(f * x.high, sum.high, result.high)};
        }
        put_doubles(to, i, n, result);
    }
}

template <class S, Power power>
class Vjp {
public:
    explicit Vjp(const Tile& tile)
        : tile(tile),
          k(tile.coefficients),
          x(tile, X, k.before + k.after + 1),
          g(tile, second, 1),
          dx(tile),
          squares(tile, k.before, k.after),
          through(tile, k.after, k.before),
          energy(k),
          direct_depth(least(k.before + 1, tile.channels)),
          pitch(round_up(tile.pixels, float_lanes)),
          rare_outputs(tile) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        dx.place(arena);
        squares.place(arena);
        through.place(arena);
        direct = arena.take<double>(direct_depth * pitch);
        rare.place(arena, tile.pixels);
        rare_outputs.place(arena);
    }

    void run() {
        const i64 channels = tile.channels;
        for (i64 j = 0; j < channels + k.after + k.before; ++j) {
            if (j < channels) take_in(j);
            squares.end(j);
            const i64 m = j - k.after;
            if (m < 0) continue;
            if (m < channels) pass_back(m);
            through.end(m);
            const i64 c = m - k.before;
            if (c >= 0) finish(c);
        }
        rare_outputs.finish(dx);
    }

private:
    void take_in(i64 j) {
        x.fetch(j);
        squares.put_products(j, x.at(j), x.at(j), tile.pixels);
    }

    // The two terms in which output m's cotangent reaches dx.
    void pass_back(i64 m) {
        g.fetch(m);
        const auto sums = squares.rows(m);
        const S *own = x.at(m), *cotangent = g.at(m);
        double* kept = direct + m % direct_depth * pitch;
        const i64 n = tile.pixels;
        rare.clear();
        const auto into = through.into(m);
        with_count(sums.count, [&](auto count) {
            for (i64 i = 0; i < n; i += float_lanes) {
                const Powers p = energy(sums.template at<count.value>(i));
                const Doubles a = get_doubles(own, i, n), b = get_doubles(cotangent, i, n);
                const vd low = b.low * p.power.low, high = b.high * p.power.high;
                store(kept + i, low);
                store(kept + i + double_lanes, high);
                into.put(i, Sum<S>::product(low, a.low * p.inverse.low),
                            Sum<S>::product(high, a.high * p.inverse.high));
                const unsigned lanes = p.rare | unwieldy<S>(a) | unwieldy<S>(b);
                if (lanes) rare.add(i, lanes, n);
            }
        });
        if (rare.any()) rare_outputs.mark(m, rare);
    }

    void finish(i64 c) {
        const auto sums = through.rows(c);
        S* to = dx.row(c);
        with_count(sums.count, [&](auto count) {
            const auto sum_at = [&](i64 i) -> Doubles {
                const Pairs t = sums.template at<count.value>(i);
                return {t.low.high, t.high.high};
            };
            put_gradients(2 * k.scale * k.beta, x.at(c), direct + c % direct_depth * pitch, sum_at, to, tile.pixels);
        });
        dx.done(c);
        rare_outputs.follow(c, dx);
    }

    const Tile& tile;
    const Coefficients& k;
    History<S> x, g;
    Writer<S> dx;
    Window<Sum<S>> squares, through;
    Energy<S, power> energy;
    i64 direct_depth, pitch;
    double* direct = nullptr;
    Rare rare;
    RareOutputs<S> rare_outputs;
};

// ---- short windows -------------------------------------------------------------------------------
//
// D and its powers in float, as in the forward pass; what is multiplied with g stays in double,
// because gradients come in all sizes.

// direct = g D^-beta, through = direct * x / D, over n elements; the rare ones are added.
template <Power power>
inline void narrow_terms(const NarrowRows& rows, const float* g, const float* next_g, i64 n, const Numbers& numbers,
                         double* direct, double* through, Rare& rare) {
    const NarrowEnergy<power, float> energy(numbers);
    const NarrowRows near = rows;  // a copy that stays in registers
    const float* own = near.row[near.own];
    const auto compute = [&](i64 i, auto get, Doubles cotangent) {
        const NarrowPowers p = energy(near, get);
        Doubles d_power = widen(p.power), inverse = widen(reciprocal(p.d));
        if (p.beyond) [[unlikely]] {
            Doubles better = d_power, better_inverse = inverse;
            const unsigned lanes = careful_powers<power>(better, better_inverse, p.d, energy.wide_energy(near, get), numbers);
            if (lanes) rare.add(i, lanes, n);
            d_power = better;
            inverse = better_inverse;
        }
        const Doubles x = widen(get(own));
        const vd low = cotangent.low * d_power.low, high = cotangent.high * d_power.high;
        store(direct + i, low);
        store(direct + i + double_lanes, high);
        store(through + i, low * (x.low * inverse.low));
        store(through + i + double_lanes, high * (x.high * inverse.high));
    };
    i64 i = 0;
    for (; i + float_lanes <= n; i += float_lanes) {
        __builtin_prefetch(near.ahead + i);
        __builtin_prefetch(next_g + i);
        compute(i, [&](const float* row) { return load(row + i); }, get_doubles(g, i, n));
    }
    if (i < n) compute(i, [&](const float* row) { return load_part(row + i, n - i); }, get_doubles(g, i, n));
}

using NarrowTerms = void (*)(const NarrowRows&, const float*, const float*, i64, const Numbers&, double*, double*, Rare&);

inline NarrowTerms narrow_terms_for(Power power) {
    switch (power) {
        case Power::quarter: return narrow_terms<Power::quarter>;
        case Power::half: return narrow_terms<Power::half>;
        case Power::three_quarter: return narrow_terms<Power::three_quarter>;
        case Power::one: return narrow_terms<Power::one>;
        case Power::five_quarter: return narrow_terms<Power::five_quarter>;
        case Power::three_half: return narrow_terms<Power::three_half>;
        case Power::seven_quarter: return narrow_terms<Power::seven_quarter>;
        case Power::two: return narrow_terms<Power::two>;
        case Power::three: return narrow_terms<Power::three>;
        case Power::steep: return narrow_terms<Power::steep>;
        default: return narrow_terms<Power::general>;
    }
}

template <class S>
inline void narrow_outputs(const double* const* through, double factor, const float* own, const double* direct,
                           S* to, i64 n) {
    const auto sum = [&](i64 i) {
        vd s = load(through[0] + i);
        for (int r = 1; r < direct_width; ++r) s += load(through[r] + i);
        return s;
    };
    put_gradients(factor, own, direct, [&](i64 i) { return Doubles{sum(i), sum(i + double_lanes)}; }, to, n);
}

template <class S>
class NarrowVjp {
public:
    explicit NarrowVjp(const Tile& tile)
        : tile(tile), k(tile.coefficients), x(tile, X, direct_width), g(tile, second, 1), dx(tile),
          numbers(k, tile.power, true), terms(narrow_terms_for(tile.power)), pitch(round_up(tile.pixels, float_lanes)), rare_outputs(tile) {}

    void place(Arena& arena) {
        x.place(arena);
        g.place(arena);
        dx.place(arena);
        zeros = arena.take<double>(pitch);
        direct = arena.take<double>(direct_width * pitch);
        through = arena.take<double>(direct_width * pitch);
        rare.place(arena, tile.pixels);
        rare_outputs.place(arena);
    }

    void run() {
        std::memset(zeros, 0, std::size_t(pitch) * sizeof(double));
        for (i64 j = 0; j < tile.channels + k.after + k.before; ++j) {
            if (j < tile.channels) x.fetch(j);
            const i64 m = j - k.after, c = m - k.before;
            if (m >= 0 && m < tile.channels) pass_back(m);
            if (c >= 0) finish(c);
        }
        rare_outputs.finish(dx);
    }

private:
    double* slot(double* ring, i64 j) const { return ring + j % direct_width * pitch; }

    void pass_back(i64 m) {
        g.fetch(m);
        NarrowRows rows;
        rows.own = int(k.before);
        rows_around(m, k.before, k.after, tile.channels, reinterpret_cast<const float*>(zeros),
                    [&](i64 from) { return x.at(from); }, rows.row);
        rows.ahead = x.ahead(m + k.after + 1);
        rare.clear();
        terms(rows, g.at(m), g.ahead(m + 1), tile.pixels, numbers, slot(direct, m), slot(through, m), rare);
        if (rare.any()) rare_outputs.mark(m, rare);
    }

    void finish(i64 c) {
        const double* rows[direct_width];
        rows_around<double>(c, k.after, k.before, tile.channels, zeros,
                            [&](i64 from) { return slot(through, from); }, rows);
        narrow_outputs(rows, 2 * k.scale * k.beta, x.at(c), slot(direct, c), dx.row(c), tile.pixels);
        dx.done(c);
        rare_outputs.follow(c, dx);
    }

    const Tile& tile;
    const Coefficients& k;
    History<S, float> x, g;
    Writer<S> dx;
    const Numbers numbers;
    const NarrowTerms terms;
    i64 pitch;
    double *zeros = nullptr, *direct = nullptr, *through = nullptr;
    Rare rare;
    RareOutputs<S> rare_outputs;
};

template <class S>
class NarrowVjpLines {
public:
    explicit NarrowVjpLines(const Tile& tile) : tile(tile), k(tile.coefficients), numbers(k, tile.power, true), terms(narrow_terms_for(tile.power)) {}

    void place(Arena& arena) {
        const i64 n = tile.channels;
        x.place(arena, n);
        through.place(arena, n);
        direct = arena.take<double>(n + float_lanes);
        if (sizeof(S) != 4) converted = arena.take<float>(n + float_lanes);
        column = arena.take<double>(3 * n);
        work = arena.take<scalar::Real>(2 * n);
        rare.place(arena, n);
    }

    void run() {
        const i64 n = tile.channels;
        x.clear();
        through.clear();
        NarrowRows window;
        const double* mirrored[direct_width];
        window.own = int(k.before);
        window.ahead = x.own();
        for (i64 r = 0; r < direct_width; ++r) {
            window.row[r] = x.shifted(r, k.before, k.after);
            mirrored[r] = through.shifted(r, k.after, k.before);
        }
        for (i64 p = 0; p < tile.pixels; ++p) {
            const S *from = element<S>(tile, X, 0, p), *g = element<S>(tile, second, 0, p);
            S* to = output<S>(tile, 0, p);
            for (i64 i = 0; i < n; i += float_lanes) put(x.own(), i, n, get(from, i, n));
            rare.clear();
            const float* cotangent = as_floats(g, n);
            terms(window, cotangent, cotangent, n, numbers, direct, through.own(), rare);
            through.clear_end();
            narrow_outputs(mirrored, 2 * k.scale * k.beta, x.own(), direct, to, n);
            if (rare.any()) repair(from, g, to);
        }
    }

private:
    const float* as_floats(const S* g, i64 n) {
        if constexpr (sizeof(S) == 4) return g;
        for (i64 i = 0; i < n; i += float_lanes) store(converted + i, get(g, i, n));
        return converted;
    }

    void repair(const S* from, const S* g, S* to) {
        const i64 n = tile.channels;
        double *xs = column, *gs = xs + n, *results = gs + n;
        for (i64 c = 0; c < n; ++c) {
            xs[c] = one(from + c);
            gs[c] = one(g + c);
        }
        i64 next = 0;  // outputs before it are done
        for (i64 m : rare) {
            const i64 first = most(next, m - k.before), last = least(n - 1, m + k.after);
            scalar::vjp(xs, gs, n, k, first, last, results, work);
            for (i64 c = first; c <= last; ++c) put_one(to + c, results[c]);
            next = last + 1;
        }
    }

    const Tile& tile;
    const Coefficients& k;
    const Numbers numbers;
    const NarrowTerms terms;
    PaddedLine<float> x;
    PaddedLine<double> through;
    double *direct = nullptr, *column = nullptr;
    float* converted = nullptr;
    scalar::Real* work = nullptr;
    Rare rare;
};

template <class S>
bool vjp(const Tile& tile) {
    if (tile.whole) return run_in_scratch(WholeAxis<S, Whole::derivative>(tile));
    if constexpr (sizeof(S) != 8)
        if (tile.narrow)
            return tile.lines ? run_in_scratch(NarrowVjpLines<S>(tile)) : run_in_scratch(NarrowVjp<S>(tile));
    return run_for_power<Vjp, S>(tile);
}

}  // namespace
}  // namespace lrn

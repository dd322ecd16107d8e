// Tests of the core that need no Python, for systems and processors that are only emulated here:
//
//     test_core [--no-forks] [SET ...]     every instruction set that runs here, or those named
//
// QEMU 7 cannot start threads in the forked child of a process with threads: --no-forks there.
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>

#include "../../csrc/blocks.h"
#include "../../csrc/box.h"
#include "../../csrc/platform.h"
#include "arrays.h"

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

using namespace arrays;
using numbers::Real;

constexpr Type types[] = {Type::f32, Type::f64, Type::f16, Type::bf16};
enum class Verb { forward, vjp, jvp };
constexpr Verb verbs[] = {Verb::forward, Verb::vjp, Verb::jvp};
constexpr const char* verb_names[] = {"forward", "vjp", "jvp"};

long checks = 0, failures = 0;

template <class... Words>
bool check(bool holds, const char* pattern, Words... words) {
    ++checks;
    if (holds) return true;
    if (++failures <= 20) {
        std::printf("FAILED under %s: ", lrn::isa_in_use());
        if constexpr (sizeof...(words) == 0) std::fputs(pattern, stdout);
        else std::printf(pattern, words...);
        std::printf("\n");
    }
    return false;
}

lrn::Coefficients window(double scale, double beta, double bias, i64 width) {
    return {scale, beta, bias, width / 2, (width - 1) / 2};
}

void set_operand(lrn::Problem& problem, lrn::Operand which, const Array& array) {
    problem.data[which] = array.at(0, 0, 0);
    problem.channel_stride[which] = array.stride[1];
    problem.stride[0][which] = array.stride[0];
    problem.stride[1][which] = array.stride[2];
}

lrn::Problem problem_of(const lrn::Coefficients& k, const Array& x, const Array* second, const Array* out) {
    lrn::Problem problem{};
    problem.type = x.type;
    problem.coefficients = k;
    problem.channels = x.shape.channels;
    problem.rank = 2;
    problem.size[0] = x.shape.batch;
    problem.size[1] = x.shape.pixels;
    problem.threads = 1;
    set_operand(problem, lrn::X, x);
    if (second) set_operand(problem, lrn::second, *second);
    if (out) set_operand(problem, lrn::out, *out);
    return problem;
}

bool call(Verb verb, const lrn::Problem& problem) {
    return verb == Verb::forward ? lrn::forward(problem) : verb == Verb::vjp ? lrn::vjp(problem) : lrn::jvp(problem);
}

Values run(Verb verb, const lrn::Coefficients& k, Type type, Shape shape, Layout layout, const Values& x,
           const Values& g, int threads = 1) {
    Array a(type, shape, layout), b(type, shape, layout), to(type, shape, layout);
    a.fill(x);
    b.fill(g);
    lrn::Problem problem = problem_of(k, a, verb == Verb::forward ? nullptr : &b, &to);
    problem.threads = threads;
    check(call(verb, problem), "%s: no memory", verb_names[int(verb)]);
    check(a.values() == x, "%s wrote into its input", verb_names[int(verb)]);
    const Values result = to.values();
    check(to.guards_hold(), "%s wrote beside its output, %s, %s, %dx%dx%d", verb_names[int(verb)],
          numbers::format_of(type).name, layout_names[int(layout)], int(shape.batch), int(shape.channels),
          int(shape.pixels));
    return result;
}

bool same_bits(const Values& a, const Values& b) {
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i] ? a[i] == a[i] || b[i] == b[i] : std::signbit(a[i]) != std::signbit(b[i])) return false;
    return a.size() == b.size();
}

// ---- against the formula -----------------------------------------------------------------------

std::vector<numbers::Expected> columns(const lrn::Coefficients& k, Shape shape, const Values& x, const Values& g,
                                       bool parameters = false) {
    std::vector<numbers::Expected> result;
    for (i64 b = 0; b < shape.batch; ++b)
        for (i64 p = 0; p < shape.pixels; ++p) {
            std::vector<double> column_x, column_g;
            for (i64 c = 0; c < shape.channels; ++c) {
                const std::size_t i = std::size_t((b * shape.channels + c) * shape.pixels + p);
                column_x.push_back(x[i]);
                column_g.push_back(g[i]);
            }
            result.push_back(numbers::formula(column_x, column_g, k, parameters));
        }
    return result;
}

Real worst[3][4];  // by verb and type, in units of what is promised

void compare(Verb verb, const lrn::Coefficients& k, Type type, Shape shape, const Values& result,
             const std::vector<numbers::Expected>& expected, const char* what) {
    const numbers::Format& format = numbers::format_of(type);
    const Real bound = verb != Verb::forward             ? 8
                       : lrn::item_size(type) == 2 ? 1
                                                         : std::max(4.0, 3 + 2 * std::fabs(k.beta));
    Real most = 0;
    for (i64 b = 0, i = 0; b < shape.batch; ++b)
        for (i64 c = 0; c < shape.channels; ++c)
            for (i64 p = 0; p < shape.pixels; ++p, ++i) {
                const numbers::Expected& e = expected[std::size_t(b * shape.pixels + p)];
                const std::size_t at = std::size_t(c);
                const Real value = verb == Verb::forward ? e.y[at] : verb == Verb::vjp ? e.dx[at] : e.dy[at];
                const Real size = verb == Verb::forward ? e.y[at] : verb == Verb::vjp ? e.dx_size[at] : e.dy_size[at];
                most = std::max(most, numbers::units(result[std::size_t(i)], value, size, format));
            }
    worst[int(verb)][int(type)] = std::max(worst[int(verb)][int(type)], most / bound);
    check(most <= bound, "%s of %s, %s: %.3g of %.3g ulp; scale %g beta %g bias %g window %d", verb_names[int(verb)],
          format.name, what, double(most), double(bound), k.scale, k.beta, k.bias, int(k.before + k.after + 1));
}

void check_parameters(const lrn::Coefficients& k, Type type, Shape shape, const Values& x, const Values& g,
                      const std::vector<numbers::Expected>& expected, const char* what) {
    Array a(type, shape, Layout::first), b(type, shape, Layout::first);
    a.fill(x);
    b.fill(g);
    lrn::ParameterGradients total;
    check(lrn::parameters(problem_of(k, a, &b, nullptr), total), "parameters: no memory");
    const double result[3] = {total.scale, total.beta, total.bias};
    for (int i = 0; i < 3; ++i) {
        Real sum = 0, size = 0;
        for (const numbers::Expected& e : expected) {
            sum += e.by[i];
            size += e.by_size[i];
        }
        if (!(size > 0x1p-900 && size < 0x1p900)) continue;
        const Real error = std::fabs(Real(result[i]) - sum) / size, bound = type == Type::f64 ? 0x1p-46 : 0x1p-20;
        check(error <= bound, "parameters of %s, %s: number %d is %.3g off; scale %g beta %g bias %g window %d",
              numbers::format_of(type).name, what, i, double(error), k.scale, k.beta, k.bias,
              int(k.before + k.after + 1));
    }
}

template <class Body>
void under_each_set(const std::vector<std::string>& sets, Body body) {
    for (const std::string& set : sets) {
        lrn::choose_isa(set.c_str());
        body();
    }
}

void test_accuracy(const std::vector<std::string>& sets) {
    constexpr double coefficients[][2] = {{1, 1}, {1e-4, 2}, {1, 0}, {1e-30, 1e-30}, {3, 1e-20}, {1e28, 1e28}};
    for (Type type : types)
        for (i64 width : {1, 2, 5, 6, 15, 63})
            for (double beta : {0.1, 0.25, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 3.0}) {
                if (width == 63 && beta != 0.6 && beta != 0.75 && beta != 3) continue;
                const Shape shape{1, width > 30 ? width + 5 : 19, 5};
                for (Kind kind : kinds) {
                    const Values x = values_of(kind, type, shape, unsigned(width));
                    const bool plain = kind == Kind::largest || kind == Kind::smallest || kind == Kind::subnormal;
                    const Values g = values_of(plain ? Kind::normal : kind, type, shape, 1000 + unsigned(width));
                    for (const auto& [scale, bias] : coefficients) {
                        const lrn::Coefficients k = window(scale / double(width), beta, bias, width);
                        const auto expected = columns(k, shape, x, g, kind == Kind::normal);
                        const char* what = kind_names[int(kind)];
                        under_each_set(sets, [&] {
                            for (Verb verb : verbs)
                                compare(verb, k, type, shape, run(verb, k, type, shape, Layout::first, x, g), expected, what);
                            if (kind == Kind::normal) check_parameters(k, type, shape, x, g, expected, what);
                        });
                    }
                }
            }
}

// Sums of equal squares: all of float's roundings at their largest, in many elements.
void test_where_short_windows_round_worst(const std::vector<std::string>& sets) {
    const Shape shape{1, 12, 1024};
    std::mt19937_64 random(5);
    Values x(std::size_t(shape.count()));
    for (double& v : x) v = double(float(0.9 + 0.2 * double(random() >> 11) * 0x1p-53));
    for (double beta : {0.5, 0.6, 0.75, 1.0, 2.0})
        for (const auto& [scale, bias] : {std::pair{1.0, 0.0}, {0.2, 0.1}}) {
            const lrn::Coefficients k = window(scale, beta, bias, 5);
            const auto expected = columns(k, shape, x, x);
            under_each_set(sets, [&] {
                for (Verb verb : verbs)
                    compare(verb, k, Type::f32, shape, run(verb, k, Type::f32, shape, Layout::first, x, x), expected,
                            "near one");
            });
        }
}

void test_layouts_and_edges(const std::vector<std::string>& sets) {
    for (Type type : types)
        for (i64 pixels : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65})
            for (i64 channels : {1, 5, 17, 33}) {
                const Shape shape{2, channels, pixels};
                const Values x = values_of(Kind::normal, type, shape, 1), g = values_of(Kind::normal, type, shape, 2);
                for (const lrn::Coefficients& k : {lrn::Coefficients{0.4, 0.75, 0.8, 2, 1}, {0.4, 1.3, 0.8, 1, 7}}) {
                    const auto expected = columns(k, shape, x, g);
                    under_each_set(sets, [&] {
                        const Values plain = run(Verb::forward, k, type, shape, Layout::first, x, g);
                        for (Layout layout : layouts)
                            for (Verb verb : verbs) {
                                const Values result = run(verb, k, type, shape, layout, x, g);
                                compare(verb, k, type, shape, result, expected, layout_names[int(layout)]);
                                if (verb == Verb::forward)
                                    check(same_bits(result, plain), "%s has other bits", layout_names[int(layout)]);
                            }
                        for (Layout layout : layouts) {
                            Array both(type, shape, layout);
                            both.fill(x);
                            check(lrn::forward(problem_of(k, both, nullptr, &both)), "no memory");
                            check(same_bits(both.values(), plain), "in place, %s: other bits", layout_names[int(layout)]);
                        }
                    });
                }
            }
}

// nan and infinity reach the outputs of their windows and no others.
void test_poison(const std::vector<std::string>& sets) {
    const Shape shape{1, 40, 19};
    for (Type type : types)
        for (i64 width : {1, 5, 31})
            for (double beta : {0.5, 0.6, 2.0})
                for (double poison : {double(NAN), double(HUGE_VAL), numbers::format_of(type).largest})
                    for (Layout layout : {Layout::first, Layout::last}) {
                        const Values x = values_of(Kind::normal, type, shape, 3), g = values_of(Kind::normal, type, shape, 4);
                        Values bad = x;
                        bad[17 * 19 + 5] = poison;
                        const lrn::Coefficients k = window(1, beta, 1, width);
                        under_each_set(sets, [&] {
                            for (Verb verb : verbs) {
                                const Values clean = run(verb, k, type, shape, layout, x, g);
                                Array a(type, shape, layout), b(type, shape, layout), to(type, shape, layout);
                                a.fill(bad);
                                b.fill(g);
                                call(verb, problem_of(k, a, verb == Verb::forward ? nullptr : &b, &to));
                                Values spoiled = to.values(), rest = clean;
                                for (i64 c = 17 - width; c <= 17 + width; ++c)
                                    if (c >= 0 && c < 40) rest[std::size_t(c * 19 + 5)] = spoiled[std::size_t(c * 19 + 5)] = 0;
                                check(same_bits(rest, spoiled), "%s of %s: poison spread, window %d beta %g",
                                      verb_names[int(verb)], numbers::format_of(type).name, int(width), beta);
                            }
                        });
                    }
}

// ---- boxes -------------------------------------------------------------------------------------

// One plane of channels by pixels, and a box over both: the formula, straightforwardly.
void test_boxes(const std::vector<std::string>& sets) {
    struct Box {
        i64 before[2], after[2];
        double scale, beta, bias;
    };
    const Shape shape{1, 9, 21};
    const i64 rows = shape.channels, columns = shape.pixels;
    const auto at = [&](i64 r, i64 c) { return std::size_t(r * columns + c); };
    for (Type type : types)
        for (const Box& box : {Box{{1, 1}, {1, 1}, 0.3, 0.75, 0.9}, Box{{2, 0}, {0, 3}, 0.2, 0.6, 1},
                               Box{{4, 5}, {4, 5}, 1, 0.5, 1e-3}, Box{{0, 20}, {8, 20}, 0.1, 2, 1}})
            for (Kind kind : {Kind::normal, Kind::by_element, Kind::largest, Kind::smallest}) {
                const Values x = values_of(kind, type, shape, 11), g = values_of(Kind::normal, type, shape, 12);
                const auto over = [&](i64 r, i64 c, bool mirrored, auto term) {
                    const i64 *low = mirrored ? box.after : box.before, *high = mirrored ? box.before : box.after;
                    Real sum = 0;
                    for (i64 i = std::max<i64>(0, r - low[0]); i <= std::min(rows - 1, r + high[0]); ++i)
                        for (i64 j = std::max<i64>(0, c - low[1]); j <= std::min(columns - 1, c + high[1]); ++j)
                            sum += term(at(i, j));
                    return sum;
                };
                std::vector<Real> power(x.size()), through(x.size());
                std::vector<numbers::Expected> expected(static_cast<std::size_t>(columns));  // by column, as compare() wants them
                const Real factor = 2 * Real(box.scale) * box.beta;
                for (i64 r = 0; r < rows; ++r)
                    for (i64 c = 0; c < columns; ++c) {
                        const std::size_t i = at(r, c);
                        const Real d = box.bias + box.scale * over(r, c, false, [&](std::size_t j) { return Real(x[j]) * x[j]; });
                        power[i] = numbers::power_of(d, box.beta);
                        through[i] = Real(g[i]) * x[i] * power[i] / d;
                        const Real slope = factor * x[i] * power[i] / d;
                        numbers::Expected& e = expected[std::size_t(c)];
                        e.y.push_back(Real(x[i]) * power[i]);
                        e.dy.push_back(g[i] * power[i] - slope * over(r, c, false, [&](std::size_t j) { return Real(x[j]) * g[j]; }));
                        e.dy_size.push_back(std::fabs(g[i] * power[i]) + std::fabs(slope) *
                            over(r, c, false, [&](std::size_t j) { return std::fabs(Real(x[j]) * g[j]); }));
                    }
                for (i64 r = 0; r < rows; ++r)
                    for (i64 c = 0; c < columns; ++c) {
                        const std::size_t i = at(r, c);
                        numbers::Expected& e = expected[std::size_t(c)];
                        e.dx.push_back(g[i] * power[i] - factor * x[i] * over(r, c, true, [&](std::size_t j) { return through[j]; }));
                        e.dx_size.push_back(std::fabs(g[i] * power[i]) + std::fabs(factor * x[i]) *
                            over(r, c, true, [&](std::size_t j) { return std::fabs(through[j]); }));
                    }
                under_each_set(sets, [&] {
                    for (Layout layout : layouts)
                        for (Verb verb : verbs) {
                            Array a(type, shape, layout), b(type, shape, layout), to(type, shape, layout);
                            a.fill(x);
                            b.fill(g);
                            lrn::BoxProblem problem{};
                            problem.type = type;
                            problem.scale = box.scale;
                            problem.beta = box.beta;
                            problem.bias = box.bias;
                            problem.data[lrn::X] = a.at(0, 0, 0);
                            problem.data[lrn::second] = verb == Verb::forward ? nullptr : b.at(0, 0, 0);
                            problem.data[lrn::out] = to.at(0, 0, 0);
                            problem.rank = 2;
                            for (int axis = 0; axis < 2; ++axis)
                                problem.axis[axis] = {axis == 0 ? rows : columns, box.before[axis], box.after[axis],
                                                      {a.stride[axis + 1], b.stride[axis + 1], to.stride[axis + 1]}};
                            problem.threads = 2;
                            const bool done = verb == Verb::forward ? lrn::forward(problem)
                                              : verb == Verb::vjp   ? lrn::vjp(problem)
                                                                    : lrn::jvp(problem);
                            check(done, "box: no memory");
                            const lrn::Coefficients k{box.scale, box.beta, box.bias, box.before[0], box.after[0]};
                            compare(verb, k, type, shape, to.values(), expected, layout_names[int(layout)]);
                            check(to.guards_hold(), "box: %s wrote beside its output", verb_names[int(verb)]);
                        }
                });
            }
}

// ---- threads and memory --------------------------------------------------------------------------

const Shape shared_shape{6, 33, 609};  // large enough for several threads

void test_threads(const std::vector<std::string>& sets) {
    const lrn::Coefficients narrow = window(0.3, 0.6, 0.9, 5), wide = window(0.3, 0.6, 0.9, 31);
    for (Type type : types) {
        const Values x = values_of(Kind::normal, type, shared_shape, 1), g = values_of(Kind::normal, type, shared_shape, 2);
        for (const lrn::Coefficients& k : {narrow, wide})
            under_each_set(sets, [&] {
                for (Verb verb : verbs)
                    for (Layout layout : {Layout::first, Layout::last}) {
                        const Values alone = run(verb, k, type, shared_shape, layout, x, g, 1);
                        for (int threads : {2, 7})
                            check(same_bits(alone, run(verb, k, type, shared_shape, layout, x, g, threads)),
                                  "%s has other bits on %d threads", verb_names[int(verb)], threads);
                    }
                Array a(type, shared_shape, Layout::first), b(type, shared_shape, Layout::first);
                a.fill(x);
                b.fill(g);
                lrn::Problem problem = problem_of(k, a, &b, nullptr);
                lrn::ParameterGradients one, many;
                check(lrn::parameters(problem, one), "no memory");
                problem.threads = 5;
                check(lrn::parameters(problem, many), "no memory");
                check(one.scale == many.scale && one.beta == many.beta && one.bias == many.bias,
                      "parameters have other bits on 5 threads");
            });
    }
}

void test_callers_at_once() {
    const lrn::Coefficients k = window(0.3, 0.75, 0.9, 5);
    const Values x = values_of(Kind::normal, Type::f32, shared_shape, 1);
    const Values expected = run(Verb::forward, k, Type::f32, shared_shape, Layout::first, x, x);
    std::vector<std::thread> callers;
    std::vector<int> wrong(4);
    for (std::size_t caller = 0; caller < wrong.size(); ++caller)
        callers.emplace_back([&, caller] {
            Array a(Type::f32, shared_shape, Layout::first), to(Type::f32, shared_shape, Layout::first);
            a.fill(x);
            lrn::Problem problem = problem_of(k, a, nullptr, &to);
            problem.threads = 3;
            for (int i = 0; i < 20; ++i)
                if (!lrn::forward(problem) || !same_bits(to.values(), expected)) ++wrong[caller];
        });
    for (std::thread& caller : callers) caller.join();
    for (int count : wrong) check(count == 0, "%d of 20 calls beside others were wrong", count);
}

#if !defined(_WIN32)
// A child computes with threads of its own, also when another thread of the parent is computing.
void test_forks() {
    const lrn::Coefficients k = window(0.3, 0.75, 0.9, 5);
    const Values x = values_of(Kind::normal, Type::f32, shared_shape, 1);
    Array a(Type::f32, shared_shape, Layout::first), to(Type::f32, shared_shape, Layout::first),
        other(Type::f32, shared_shape, Layout::first);
    a.fill(x);
    const Values expected = run(Verb::forward, k, Type::f32, shared_shape, Layout::first, x, x, 2);
    std::atomic<bool> stop{false};
    std::thread busy([&] {
        lrn::Problem problem = problem_of(k, a, nullptr, &other);
        problem.threads = 2;
        while (!stop.load()) lrn::forward(problem);
    });
    for (int i = 0; i < 5; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            lrn::Problem problem = problem_of(k, a, nullptr, &to);
            problem.threads = 2;
            bool right = lrn::forward(problem);
            to.each([&](const void* place, i64 at) { right = right && numbers::read(Type::f32, place) == expected[std::size_t(at)]; });
            _exit(right ? 0 : 1);
        }
        int status = -1;
        check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a forked child ended with status %d", status);
    }
    stop.store(true);
    busy.join();
}
#endif

// Outputs beyond the cache, in memory that is new and in memory that is not.
void test_large_outputs(const std::vector<std::string>& sets) {
    const Shape shape{1, 24, 200001}, piece{1, 24, 1000};
    const lrn::Coefficients k = window(0.3, 0.75, 0.9, 5), wide = window(0.3, 0.75, 0.9, 9);
    const Values x = values_of(Kind::by_element, Type::f32, shape, 1);
    Values first(std::size_t(piece.count()));
    for (i64 c = 0; c < 24; ++c)
        for (i64 p = 0; p < 1000; ++p) first[std::size_t(c * 1000 + p)] = x[std::size_t(c * 200001 + p)];
    under_each_set(sets, [&] {
        for (const lrn::Coefficients& some : {k, wide})
            for (bool fresh : {false, true}) {
                Array a(Type::f32, shape, Layout::first);
                a.fill(x);
                const lrn::Block block = lrn::take_block(std::size_t(shape.count()) * 4);
                if (!check(block.data != nullptr, "no block")) continue;
                lrn::Problem problem = problem_of(some, a, nullptr, nullptr);
                problem.data[lrn::out] = block.data;
                problem.channel_stride[lrn::out] = shape.pixels;
                problem.stride[0][lrn::out] = shape.pixels * shape.channels;
                problem.stride[1][lrn::out] = 1;
                problem.threads = 2;
                problem.fresh = fresh;
                check(lrn::forward(problem), "no memory");
                const Values expected = run(Verb::forward, some, Type::f32, piece, Layout::first, first, first);
                bool right = true;
                for (i64 c = 0; c < 24; ++c)
                    for (i64 p = 0; p < 1000; ++p)
                        right = right && static_cast<float*>(block.data)[c * shape.pixels + p] == float(expected[std::size_t(c * 1000 + p)]);
                check(right, "a large output differs from a small one");
                lrn::give_block(block);
                const lrn::Block again = lrn::take_block(std::size_t(shape.count()) * 4);
                if (check(again.data != nullptr, "no block")) {
                    std::memset(again.data, 1, again.size);
                    lrn::give_block(again);
                }
            }
    });
}

// A thread left in flush-to-zero mode computes with subnormals and stays in its mode.
void test_modes(const std::vector<std::string>& sets) {
    const Shape shape{1, 3, 20};
    const Values x(60, double(1e-40f));
    const lrn::Coefficients k = window(1, 0.5, 1, 3);
    under_each_set(sets, [&] {
#if defined(__x86_64__)
        const unsigned before = _mm_getcsr(), wanted = before | 0x8040;
        _mm_setcsr(wanted);
#elif defined(__aarch64__)
        std::uint64_t before, wanted, after;
        asm volatile("mrs %0, fpcr" : "=r"(before));
        wanted = before | 1 << 24;
        asm volatile("msr fpcr, %0" : : "r"(wanted));
#endif
        Array a(Type::f32, shape, Layout::first), to(Type::f32, shape, Layout::first);
        const std::uint32_t tiny = 71362;  // 1e-40
        a.each([&](void* place, i64) { std::memcpy(place, &tiny, 4); });
        lrn::forward(problem_of(k, a, nullptr, &to));
#if defined(__x86_64__)
        const unsigned after = _mm_getcsr();
        _mm_setcsr(before);
        check((after & ~0x3fu) == (wanted & ~0x3fu), "the thread's mode was changed");
#elif defined(__aarch64__)
        asm volatile("mrs %0, fpcr" : "=r"(after));
        asm volatile("msr fpcr, %0" : : "r"(before));
        check(after == wanted, "the thread's mode was changed");
#endif
        check(same_bits(to.values(), x), "subnormals were flushed to zero");
    });
}

}  // namespace

int main(int count, char** arguments) {
    std::vector<std::string> sets(arguments + 1, arguments + count);
    [[maybe_unused]] const bool forks = sets.empty() || sets[0] != "--no-forks";
    if (!forks) sets.erase(sets.begin());
    if (sets.empty())
        for (int i = 0; i < lrn::isa_count(); ++i)
            if (lrn::isa_runs_here(i)) sets.push_back(lrn::isa_name(i));
    for (const std::string& set : sets)
        if (!lrn::choose_isa(set.c_str())) {
            std::printf("%s is not an instruction set of this build and processor\n", set.c_str());
            return 2;
        }
    const auto stage = [&](const char* name, auto test) {
        const long before = checks;
        std::fflush(stdout);
        test();
        std::printf("%-36s %8ld checks\n", name, checks - before);
    };
    stage("modes of the thread", [&] { test_modes(sets); });
    stage("accuracy", [&] { test_accuracy(sets); });
    stage("where short windows round worst", [&] { test_where_short_windows_round_worst(sets); });
    stage("layouts and edges of vectors", [&] { test_layouts_and_edges(sets); });
    stage("nan and infinity", [&] { test_poison(sets); });
    stage("boxes", [&] { test_boxes(sets); });
    stage("threads", [&] { test_threads(sets); });
    stage("callers at once", [&] { test_callers_at_once(); });
#if !defined(_WIN32)
    if (forks) stage("forks", [&] { test_forks(); });
#endif
    stage("large outputs", [&] { test_large_outputs(sets); });
    std::printf("largest errors, as a share of the bound:\n");
    for (Verb verb : verbs) {
        std::printf("    %-8s", verb_names[int(verb)]);
        for (Type type : types) std::printf("  %s %.2f", numbers::format_of(type).name, double(worst[int(verb)][int(type)]));
        std::printf("\n");
    }
    std::printf("%ld checks of", checks);
    for (const std::string& set : sets) std::printf(" %s", set.c_str());
    std::printf(": %ld failed\n", failures);
    return failures ? 1 : 0;
}

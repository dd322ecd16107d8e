// A fixed set of calls on one thread, for counting their instructions (instructions.py):
//
//     instructions SET
//
// Each call is made twice, as the first pays for what is set up once. Printed before each second
// one: verb, type, layout, window, beta, shape and number of elements.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__aarch64__)
#include <unistd.h>
#endif

#include "../csrc/lrn.h"

namespace {

using lrn::Type;

enum class Verb { forward, vjp, jvp, parameters, vjp_parameters };
constexpr const char* verb_names[] = {"forward", "vjp", "jvp", "parameters", "vjp_parameters"};
constexpr const char* type_names[] = {"float32", "float64", "float16", "bfloat16"};

struct Call {
    Verb verb;
    Type type;
    bool last;  // channels last
    int radius;
    double beta;
    std::int64_t batch, channels, pixels;
};

// One call a path: verbs, types, layouts, sums in float and in double, powers, shapes of tiles.
constexpr Call calls[] = {
    {Verb::forward, Type::f32, false, 2, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 2, 0.5, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 2, 0.6, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 2, 2, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 2, 1.5, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 2, 1.1, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 3, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 15, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 63, 0.75, 1, 256, 256},
    {Verb::forward, Type::f32, false, 96, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f32, true, 96, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f32, true, 2, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f32, true, 15, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f32, false, 2, 0.75, 64, 96, 9},
    {Verb::forward, Type::f32, false, 2, 0.75, 64, 96, 16},
    {Verb::forward, Type::f32, false, 2, 0.75, 1, 2048, 1},
    {Verb::forward, Type::f32, false, 2, 0.75, 1, 5, 2},
    {Verb::forward, Type::f64, false, 2, 0.75, 2, 96, 1024},
    {Verb::forward, Type::f64, false, 2, 0.6, 2, 96, 1024},
    {Verb::forward, Type::f16, false, 2, 0.75, 2, 96, 1024},
    {Verb::forward, Type::bf16, false, 2, 0.75, 2, 96, 1024},
    {Verb::vjp, Type::f32, false, 2, 0.75, 2, 96, 1024},
    {Verb::vjp, Type::f32, true, 2, 0.75, 2, 96, 1024},
    {Verb::vjp, Type::f32, false, 15, 0.75, 2, 96, 1024},
    {Verb::vjp, Type::f64, false, 2, 0.75, 2, 96, 1024},
    {Verb::vjp, Type::bf16, false, 2, 0.75, 2, 96, 1024},
    {Verb::vjp, Type::f32, false, 96, 0.75, 2, 96, 1024},
    {Verb::jvp, Type::f32, false, 2, 0.75, 2, 96, 1024},
    {Verb::parameters, Type::f32, false, 2, 0.75, 2, 96, 1024},
    {Verb::vjp_parameters, Type::f32, false, 2, 0.75, 2, 96, 1024},
};

std::int64_t elements_of(const Call& call) { return call.batch * call.channels * call.pixels; }

// Ordinary numbers between -2 and 2, the same on every machine; `seed` tells the arrays apart.
void* filled(const Call& call, std::uint32_t seed) {
    const std::int64_t count = elements_of(call);
    const std::size_t item = lrn::item_size(call.type);
    // Aligned, and whole pages: no count may depend on where an array happens to lie.
    auto* data = static_cast<char*>(std::aligned_alloc(4096, (std::size_t(count) * item + 4095) / 4096 * 4096));
    std::uint32_t state = seed;
    for (std::int64_t i = 0; i < count; ++i) {
        state = state * 1664525u + 1013904223u;
        const float value = float(std::int32_t(state)) * 0x1p-30f;
        std::uint32_t bits;
        std::memcpy(&bits, &value, 4);
        // Of a float in the range of ordinary halves: exponent and mantissa, moved.
        const std::uint32_t half = (bits >> 16 & 0x8000) | (((bits >> 13 & 0x3ffff) - 0x1c000) & 0x7fff);
        const bool tiny = value < 0x1p-13f && value > -0x1p-13f;
        const double wide = value;
        const std::uint16_t narrow = std::uint16_t(call.type == Type::bf16 ? bits >> 16 : tiny ? 0 : half);
        const void* from = call.type == Type::f32   ? static_cast<const void*>(&value)
                           : call.type == Type::f64 ? static_cast<const void*>(&wide)
                                                    : &narrow;
        std::memcpy(data + std::size_t(i) * item, from, item);
    }
    return data;
}

lrn::Problem problem_of(const Call& call) {
    lrn::Problem problem{};
    problem.type = call.type;
    const double width = 2 * call.radius + 1;
    problem.coefficients = {1 / width, call.beta, 1, call.radius, call.radius};
    problem.channels = call.channels;
    problem.rank = 2;
    problem.size[0] = call.batch;
    problem.size[1] = call.pixels;
    for (int o = 0; o < lrn::operands; ++o) {
        problem.channel_stride[o] = call.last ? 1 : call.pixels;
        problem.stride[0][o] = call.channels * call.pixels;
        problem.stride[1][o] = call.last ? call.channels : 1;
    }
    problem.threads = 1;
    problem.data[lrn::X] = filled(call, 1);
    if (call.verb != Verb::forward) problem.data[lrn::second] = filled(call, 2);
    if (call.verb != Verb::parameters) problem.data[lrn::out] = filled(call, 3);
    return problem;
}

bool run(Verb verb, const lrn::Problem& problem) {
    lrn::ParameterGradients total;
    switch (verb) {
        case Verb::forward: return lrn::forward(problem);
        case Verb::vjp: return lrn::vjp(problem);
        case Verb::jvp: return lrn::jvp(problem);
        case Verb::parameters: return lrn::parameters(problem, total);
        case Verb::vjp_parameters: return lrn::vjp_parameters(problem, total);
    }
    return false;
}

// Under QEMU a plugin counts from one of these to the next (count_instructions.c).
void mark() {
#if defined(__aarch64__)
    getppid();
#endif
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2 || !lrn::choose_isa(arguments[1])) {
        std::fputs("usage: instructions SET, an instruction set that this build and processor have\n", stderr);
        return 2;
    }
    for (const Call& call : calls) {
        const lrn::Problem problem = problem_of(call);
        std::printf("%s,%s,%s,%d,%g,%lldx%lldx%lld,%lld\n", verb_names[int(call.verb)], type_names[int(call.type)],
                    call.last ? "last" : "first", 2 * call.radius + 1, call.beta, static_cast<long long>(call.batch),
                    static_cast<long long>(call.channels), static_cast<long long>(call.pixels),
                    static_cast<long long>(elements_of(call)));
        if (!run(call.verb, problem)) return 1;
        mark();
        if (!run(call.verb, problem)) return 1;
        mark();
    }
}

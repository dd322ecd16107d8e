// The contract of the compiled core: sizes, strides and coefficients over raw pointers.
//
//     D[c] = bias + scale * sum x[j]^2      j from max(0, c - before) to min(N - 1, c + after)
//     y[c] = x[c] * D[c]^(-beta)
//
// No tensor, no Python object and no exception passes through here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lrn {

enum class Type : int { f32, f64, f16, bf16 };
constexpr int type_count = 4;

constexpr std::size_t item_size(Type type) {
    return type == Type::f64 ? 8 : type == Type::f32 ? 4 : 2;
}

struct Coefficients {
    double scale, beta, bias;
    std::int64_t before, after;
};

// The operands of one call. `second` is the cotangent of vjp and parameters, the tangent of jvp.
enum Operand : int { X = 0, second = 1, out = 2 };
constexpr int operands = 3;
constexpr int max_rank = 64;

// Strides count elements. Pointers are aligned to the element. In forward and jvp, out may be
// x itself (same strides); no other overlap is allowed: vjp reads x again for elements out of range.
struct Problem {
    Type type;
    Coefficients coefficients;
    const void* data[operands];  // out is written through a cast; unused operands are null
    std::int64_t channels;
    std::int64_t channel_stride[operands];
    int rank;  // the axes other than the channels
    std::int64_t size[max_rank];
    std::int64_t stride[max_rank][operands];
    int threads;  // this call may use; 0: thread_count()
    bool fresh;   // out is dense, in pages that the system may still have to find and clear
};

struct ParameterGradients {
    double scale, beta, bias;
};

// False where the memory for a tile could not be had.
bool forward(const Problem&);
bool vjp(const Problem&);
bool jvp(const Problem&);
bool parameters(const Problem&, ParameterGradients& total);
bool vjp_parameters(const Problem&, ParameterGradients& total);  // both, for less than one after the other

// Sums shared between channels begin anew every so many of them. A region that begins at a multiple
// of it, and is longer than before + 1 and after + 1, gives forward the bits of the whole axis.
std::int64_t forward_period(Type, const Coefficients&);

// The instruction sets this build holds, and the one in use. choose_isa answers false for one
// that this build or this processor does not have.
int isa_count();
const char* isa_name(int index);
bool isa_runs_here(int index);
const char* isa_in_use();
bool choose_isa(const char* name);

// Threads the next call may use; a caller's own thread is one of them.
int thread_count();
void set_thread_count(int count);
int usable_processors();

}  // namespace lrn

// The only file that knows Python. Arrays come through the buffer protocol, as byte strides and
// a format letter; bfloat16 comes as its bits ('H').
#include <nanobind/nanobind.h>

#include <bit>
#include <new>
#include <stdexcept>

#include "blocks.h"
#include "box.h"
#include "lrn.h"
#include "platform.h"
#include "xla.h"

namespace nb = nanobind;
using nb::literals::operator""_a;

namespace {

class Buffer {
public:
    Buffer(nb::handle array, bool writable) {
        const int flags = PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(array.ptr(), &view, flags) != 0) nb::raise_python_error();
    }
    ~Buffer() { PyBuffer_Release(&view); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    // The elements' type. A format that names this machine's byte order, as that of arrays from
    // Zarr does, is read; with the other it is refused like any other.
    bool type(lrn::Type& result) const {
        const char* format = view.format;
        constexpr char native = std::endian::native == std::endian::little ? '<' : '>';
        if (format && format[0] == native) ++format;
        if (!format || !format[0] || format[1]) return false;
        switch (format[0]) {
            case 'f': result = lrn::Type::f32; return true;
            case 'd': result = lrn::Type::f64; return true;
            case 'e': result = lrn::Type::f16; return true;
            case 'H': result = lrn::Type::bf16; return true;
        }
        return false;
    }

    bool aligned() const {
        bool whole = reinterpret_cast<std::uintptr_t>(view.buf) % std::size_t(view.itemsize) == 0;
        for (int a = 0; a < view.ndim; ++a) whole = whole && view.strides[a] % view.itemsize == 0;
        return whole;
    }

    Py_buffer view{};
};

constexpr std::int64_t worth_releasing = 4096;  // elements below which the lock is kept

struct Call {
    explicit Call(const lrn::Coefficients& k) {
        problem.coefficients = k;
        problem.threads = 0;
        problem.fresh = false;
        for (const void*& pointer : problem.data) pointer = nullptr;
    }
    lrn::Problem problem;  // sizes and strides stay unset beyond the rank: there is room for 64
    std::int64_t elements = 1;
};

// Adds one operand. False: not a layout or type the core computes; the front makes a copy.
bool add(Call& call, lrn::Operand which, const Buffer& buffer, int axis, bool first) {
    const Py_buffer& view = buffer.view;
    lrn::Problem& p = call.problem;
    lrn::Type type;
    if (!buffer.type(type) || !buffer.aligned() || view.ndim == 0 || view.ndim > lrn::max_rank) return false;
    if (axis < 0 || axis >= view.ndim) throw std::invalid_argument("axis out of range");
    if (first) {
        p.type = type;
        p.channels = view.shape[axis];
        p.rank = view.ndim - 1;
    } else if (type != p.type || view.ndim - 1 != p.rank || view.shape[axis] != p.channels) {
        throw std::invalid_argument("operands differ in type or shape");
    }
    p.data[which] = view.buf;
    p.channel_stride[which] = view.strides[axis] / view.itemsize;
    for (int a = 0, to = 0; a < view.ndim; ++a) {
        if (first) call.elements *= view.shape[a];
        if (a == axis) continue;
        if (!first && p.size[to] != view.shape[a]) throw std::invalid_argument("operands differ in shape");
        p.size[to] = view.shape[a];
        p.stride[to++][which] = view.strides[a] / view.itemsize;
    }
    return true;
}

lrn::Coefficients coefficients(double scale, double beta, double bias, std::int64_t before, std::int64_t after) {
    if (before < 0 || after < 0) throw std::invalid_argument("a window cannot end before it begins");
    return {scale, beta, bias, before, after};
}

// A daemon thread that wants the interpreter back while it shuts down is ended by pthread_exit,
// which unwinds: through destructors that must not throw, and that need the lock they do not
// have. Such a thread is stopped here instead; the process ends without it.
void take_back(PyThreadState* state) {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {  // the unwinding itself: nothing else is thrown there
        lrn::platform::stop_thread();
    }
}

template <class Problem, class Compute>
void compute(const Problem& problem, std::int64_t elements, Compute verb) {
    if (elements == 0) return;
    bool done;
    if (elements < worth_releasing) {
        done = verb(problem);
    } else {
        PyThreadState* state = PyEval_SaveThread();
        done = verb(problem);
        take_back(state);
    }
    if (!done) throw std::bad_alloc();
}

template <class Compute>
void compute(const Call& call, Compute verb) {
    compute(call.problem, call.elements, verb);
}

bool forward(nb::handle x, nb::handle out, double scale, double beta, double bias, std::int64_t before,
             std::int64_t after, int axis, bool fresh, int threads) {
    const Buffer from(x, false), to(out, true);
    Call call(coefficients(scale, beta, bias, before, after));
    call.problem.fresh = fresh;
    call.problem.threads = threads;
    if (!add(call, lrn::X, from, axis, true) || !add(call, lrn::out, to, axis, false)) return false;
    compute(call, [](const lrn::Problem& p) { return lrn::forward(p); });
    return true;
}

template <bool (*verb)(const lrn::Problem&)>
bool derivative(nb::handle x, nb::handle second, nb::handle out, double scale, double beta, double bias,
                std::int64_t before, std::int64_t after, int axis, bool fresh, int threads) {
    const Buffer from(x, false), with(second, false), to(out, true);
    Call call(coefficients(scale, beta, bias, before, after));
    call.problem.fresh = fresh;
    call.problem.threads = threads;
    if (!add(call, lrn::X, from, axis, true) || !add(call, lrn::second, with, axis, false) ||
        !add(call, lrn::out, to, axis, false))
        return false;
    compute(call, verb);
    return true;
}

nb::object parameters(nb::handle x, nb::handle second, double scale, double beta, double bias,
                      std::int64_t before, std::int64_t after, int axis, int threads) {
    const Buffer from(x, false), with(second, false);
    Call call(coefficients(scale, beta, bias, before, after));
    call.problem.threads = threads;
    if (!add(call, lrn::X, from, axis, true) || !add(call, lrn::second, with, axis, false)) return nb::none();
    lrn::ParameterGradients total{0, 0, 0};
    compute(call, [&](const lrn::Problem& p) { return lrn::parameters(p, total); });
    return nb::make_tuple(total.scale, total.beta, total.bias);
}

nb::object vjp_parameters(nb::handle x, nb::handle second, nb::handle out, double scale, double beta, double bias,
                          std::int64_t before, std::int64_t after, int axis, bool fresh, int threads) {
    const Buffer from(x, false), with(second, false), to(out, true);
    Call call(coefficients(scale, beta, bias, before, after));
    call.problem.fresh = fresh;
    call.problem.threads = threads;
    if (!add(call, lrn::X, from, axis, true) || !add(call, lrn::second, with, axis, false) ||
        !add(call, lrn::out, to, axis, false))
        return nb::none();
    lrn::ParameterGradients total{0, 0, 0};
    compute(call, [&](const lrn::Problem& p) { return lrn::vjp_parameters(p, total); });
    return nb::make_tuple(total.scale, total.beta, total.bias);
}

// ---- windows over several axes ----------------------------------------------------------------

struct BoxCall {
    BoxCall(double scale, double beta, double bias, const nb::tuple& before, const nb::tuple& after,
            const nb::tuple& axes)
        : before(before), after(after), axes(axes) {
        problem.scale = scale;
        problem.beta = beta;
        problem.bias = bias;
        if (before.size() != axes.size() || after.size() != axes.size())
            throw std::invalid_argument("before, after and axes differ in length");
    }

    // As add above.
    bool add(lrn::Operand which, const Buffer& buffer, bool first) {
        const Py_buffer& view = buffer.view;
        lrn::Type type;
        if (!buffer.type(type) || !buffer.aligned() || view.ndim == 0 || view.ndim > lrn::max_rank) return false;
        if (first) {
            problem.type = type;
            problem.rank = view.ndim;
        } else if (type != problem.type || view.ndim != problem.rank) {
            throw std::invalid_argument("operands differ in type or shape");
        }
        problem.data[which] = view.buf;
        for (int a = 0; a < view.ndim; ++a) {
            lrn::BoxAxis& axis = problem.axis[a];
            if (first) {
                axis = {view.shape[a], 0, 0, {}};
                elements *= view.shape[a];
            } else if (axis.size != view.shape[a]) {
                throw std::invalid_argument("operands differ in shape");
            }
            axis.stride[which] = view.strides[a] / view.itemsize;
        }
        if (first) set_windows();
        return true;
    }

    lrn::BoxProblem problem{};
    std::int64_t elements = 1;

private:
    void set_windows() {
        for (std::size_t i = 0; i < axes.size(); ++i) {
            const int a = nb::cast<int>(axes[i]);
            if (a < 0 || a >= problem.rank) throw std::invalid_argument("axis out of range");
            lrn::BoxAxis& axis = problem.axis[a];
            axis.before = nb::cast<std::int64_t>(before[i]);
            axis.after = nb::cast<std::int64_t>(after[i]);
            if (axis.before < 0 || axis.after < 0) throw std::invalid_argument("a window cannot end before it begins");
        }
    }

    nb::tuple before, after, axes;
};

bool box_forward(nb::handle x, nb::handle out, double scale, double beta, double bias, nb::tuple before,
                 nb::tuple after, nb::tuple axes, bool fresh, int threads) {
    const Buffer from(x, false), to(out, true);
    BoxCall call(scale, beta, bias, before, after, axes);
    call.problem.fresh = fresh;
    call.problem.threads = threads;
    if (!call.add(lrn::X, from, true) || !call.add(lrn::out, to, false)) return false;
    compute(call.problem, call.elements, [](const lrn::BoxProblem& p) { return lrn::forward(p); });
    return true;
}

template <bool (*verb)(const lrn::BoxProblem&)>
bool box_derivative(nb::handle x, nb::handle second, nb::handle out, double scale, double beta, double bias,
                    nb::tuple before, nb::tuple after, nb::tuple axes, bool fresh, int threads) {
    const Buffer from(x, false), with(second, false), to(out, true);
    BoxCall call(scale, beta, bias, before, after, axes);
    call.problem.fresh = fresh;
    call.problem.threads = threads;
    if (!call.add(lrn::X, from, true) || !call.add(lrn::second, with, false) || !call.add(lrn::out, to, false))
        return false;
    compute(call.problem, call.elements, verb);
    return true;
}

nb::object box_parameters(nb::handle x, nb::handle second, double scale, double beta, double bias,
                          nb::tuple before, nb::tuple after, nb::tuple axes, int threads) {
    const Buffer from(x, false), with(second, false);
    BoxCall call(scale, beta, bias, before, after, axes);
    call.problem.threads = threads;
    if (!call.add(lrn::X, from, true) || !call.add(lrn::second, with, false)) return nb::none();
    lrn::ParameterGradients total{0, 0, 0};
    compute(call.problem, call.elements, [&](const lrn::BoxProblem& p) { return lrn::parameters(p, total); });
    return nb::make_tuple(total.scale, total.beta, total.bias);
}

// A stretch of bytes that goes back where it came from when the last array on it is gone.
class Memory {
public:
    explicit Memory(std::size_t bytes) : block(lrn::take_block(bytes)), bytes(bytes) {
        if (!block.data) throw std::bad_alloc();
    }
    ~Memory() { lrn::give_block(block); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    static int buffer(PyObject* self, Py_buffer* view, int flags) {
        const Memory& memory = *nb::inst_ptr<Memory>(self);
        return PyBuffer_FillInfo(view, self, memory.block.data, Py_ssize_t(memory.bytes), 0, flags);
    }

    const lrn::Block block;
    const std::size_t bytes;
};

PyType_Slot memory_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(&Memory::buffer)}, {0, nullptr}};

}  // namespace

NB_MODULE(_core, m) {
    m.doc() = "The compiled core: LRN over strided arrays, with its derivatives.";
    nb::set_leak_warnings(false);  // arrays on Memory may live as long as the process
    nb::class_<Memory>(m, "Memory", nb::type_slots(memory_slots))
        .def(nb::init<std::size_t>(), "bytes"_a)
        .def_prop_ro("fresh", [](const Memory& memory) { return memory.block.fresh; });
    m.def("forward", &forward, "x"_a, "out"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a, "after"_a, "axis"_a,
          "fresh"_a = false, "threads"_a = 0);
    m.def("vjp", &derivative<lrn::vjp>, "x"_a, "g"_a, "out"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a,
          "after"_a, "axis"_a, "fresh"_a = false, "threads"_a = 0);
    m.def("jvp", &derivative<lrn::jvp>, "x"_a, "t"_a, "out"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a,
          "after"_a, "axis"_a, "fresh"_a = false, "threads"_a = 0);
    m.def("parameters", &parameters, "x"_a, "g"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a, "after"_a,
          "axis"_a, "threads"_a = 0);
    m.def("vjp_parameters", &vjp_parameters, "x"_a, "g"_a, "out"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a,
          "after"_a, "axis"_a, "fresh"_a = false, "threads"_a = 0);
    m.def("box_forward", &box_forward, "x"_a, "out"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a, "after"_a,
          "axes"_a, "fresh"_a = false, "threads"_a = 0);
    m.def("box_vjp", &box_derivative<lrn::vjp>, "x"_a, "g"_a, "out"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a,
          "after"_a, "axes"_a, "fresh"_a = false, "threads"_a = 0);
    m.def("box_jvp", &box_derivative<lrn::jvp>, "x"_a, "t"_a, "out"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a,
          "after"_a, "axes"_a, "fresh"_a = false, "threads"_a = 0);
    m.def("box_parameters", &box_parameters, "x"_a, "g"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a, "after"_a,
          "axes"_a, "threads"_a = 0);
    m.def("forward_period", [](std::size_t item, double scale, double beta, double bias, std::int64_t before,
                               std::int64_t after) {
        return lrn::forward_period(item == 8 ? lrn::Type::f64 : lrn::Type::f32, {scale, beta, bias, before, after});
    }, "item"_a, "scale"_a, "beta"_a, "bias"_a, "before"_a, "after"_a);
    m.def("xla_handler", [](const char* verb) { return nb::capsule(lrn::xla_handler(verb)); }, "verb"_a);
    m.def("isa_names", [] {
        nb::list names;
        for (int i = 0; i < lrn::isa_count(); ++i)
            if (lrn::isa_runs_here(i)) names.append(lrn::isa_name(i));
        return nb::tuple(names);
    });
    m.def("isa_in_use", &lrn::isa_in_use);
    m.def("choose_isa", &lrn::choose_isa, "name"_a);
    m.def("thread_count", &lrn::thread_count);
    m.def("set_thread_count", &lrn::set_thread_count, "count"_a);
    m.def("usable_processors", &lrn::usable_processors);
}

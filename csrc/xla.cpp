#include "xla.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "box.h"

namespace {

// What passes between XLA and a handler, version 0.1: each structure begins with its size and a list of
// extensions. Later minor versions only add behind what stands here.
namespace ffi {

constexpr int major_version = 0, minor_version = 1;
constexpr int metadata_extension = 1;
constexpr int execute_stage = 3;
constexpr int buffer_kind = 1, array_kind = 1, scalar_kind = 3;

enum ElementType : int { s64 = 5, f16 = 10, f32 = 11, f64 = 12, bf16 = 16 };
enum ErrorCode : int { invalid_argument = 3, resource_exhausted = 8 };

struct Extension {
    std::size_t struct_size;
    int kind;
    Extension* next;
};

struct Head {
    std::size_t struct_size;
    Extension* extension;
};

struct Version {
    Head head;
    int major, minor;
};

struct Metadata {
    std::size_t struct_size;
    Version version;
    std::uint32_t traits;
};

struct MetadataExtension {
    Extension base;
    Metadata* metadata;
};

struct Error;

struct ErrorArguments {
    Head head;
    const char* message;
    int code;
};

struct Api {
    Head head;
    Version version;
    const void* internal;
    Error* (*create_error)(ErrorArguments*);
};

struct Buffer {
    Head head;
    int type;
    void* data;
    std::int64_t rank;
    const std::int64_t* size;
};

struct Scalar {
    int type;
    const void* value;
};

struct Array {
    int type;
    std::size_t size;
    const void* data;
};

struct Name {
    const char* text;
    std::size_t length;
};

struct Buffers {  // operands, results
    Head head;
    std::int64_t count;
    const int* kinds;
    void* const* items;
};

struct Attributes {
    Head head;
    std::int64_t count;
    const int* kinds;
    const Name* const* names;
    void* const* values;
};

struct Frame {
    Head head;
    const Api* api;
    void* context;
    int stage;
    Buffers operands, results;
    Attributes attributes;
};

}  // namespace ffi

struct Verb {
    const char* name;
    int arrays;                            // x alone, or x and a second of its shape
    bool (*compute)(const lrn::BoxProblem&);  // null for the one whose result is three numbers
};

constexpr Verb verbs[] = {
    {"forward", 1, lrn::forward},
    {"vjp", 2, lrn::vjp},
    {"jvp", 2, lrn::jvp},
    {"parameters", 2, nullptr},
};

class Call {
public:
    explicit Call(ffi::Frame& frame) : frame(frame) {}

    ffi::Error* run(const Verb& verb) {
        next = verb.arrays;
        if (!read_numbers() || !read_type() || !read_box() || frame.operands.count != next || frame.results.count != 1)
            return refused("lrnorm: the operands or attributes are not those of this verb");
        if (!add(lrn::X, operand(0)) || (verb.arrays == 2 && !add(lrn::second, operand(1))) ||
            (verb.compute && !add(lrn::out, result())))
            return refused("lrnorm: the arrays differ in type or shape");
        if (!verb.compute) return run_parameters();
        return elements == 0 || verb.compute(problem) ? nullptr : no_memory();
    }

private:
    ffi::Error* error(ffi::ErrorCode code, const char* message) const {
        ffi::ErrorArguments arguments{{sizeof arguments, nullptr}, message, code};
        return frame.api->create_error(&arguments);
    }

    ffi::Error* refused(const char* message) const { return error(ffi::invalid_argument, message); }

    ffi::Error* no_memory() const {
        return error(ffi::resource_exhausted, "lrnorm: no memory for a tile of the array");
    }

    static const ffi::Buffer* buffer(const ffi::Buffers& buffers, std::int64_t i) {
        if (i >= buffers.count || buffers.kinds[i] != ffi::buffer_kind) return nullptr;
        return static_cast<const ffi::Buffer*>(buffers.items[i]);
    }
    const ffi::Buffer* operand(std::int64_t i) const { return buffer(frame.operands, i); }
    const ffi::Buffer* result() const { return buffer(frame.results, 0); }

    // The place of an attribute, or -1.
    std::int64_t find(const char* name) const {
        const ffi::Attributes& all = frame.attributes;
        for (std::int64_t i = 0; i < all.count; ++i)
            if (all.names[i]->length == std::strlen(name) &&
                std::memcmp(all.names[i]->text, name, all.names[i]->length) == 0)
                return i;
        return -1;
    }

    bool attribute(const char* name, double& value) const {
        const std::int64_t i = find(name);
        if (i < 0 || frame.attributes.kinds[i] != ffi::scalar_kind) return false;
        const ffi::Scalar& scalar = *static_cast<const ffi::Scalar*>(frame.attributes.values[i]);
        if (scalar.type != ffi::f64) return false;
        std::memcpy(&value, scalar.value, sizeof value);
        return true;
    }

    // One whole number for each axis of the box.
    bool attribute(const char* name, ffi::Array& values) const {
        const std::int64_t i = find(name);
        if (i < 0 || frame.attributes.kinds[i] != ffi::array_kind) return false;
        values = *static_cast<const ffi::Array*>(frame.attributes.values[i]);
        return values.type == ffi::s64;
    }

    bool number(const char* name, double& value) {
        if (attribute(name, value)) return true;
        const ffi::Buffer* from = operand(next++);
        if (!from || from->rank != 0) return false;
        if (from->type == ffi::f64) value = *static_cast<const double*>(from->data);
        else if (from->type == ffi::f32) value = *static_cast<const float*>(from->data);
        else return false;
        return true;
    }

    bool read_numbers() {
        return number("scale", problem.scale) && number("beta", problem.beta) && number("bias", problem.bias);
    }

    bool read_type() {
        const ffi::Buffer* x = operand(0);
        if (!x || x->rank < 1 || x->rank > lrn::max_rank) return false;
        problem.rank = int(x->rank);
        problem.fresh = true;  // XLA takes large results from the system: 6 to 10 ms so, else 16 to 18, at 16x192x56x56
        switch (x->type) {
            case ffi::f32: problem.type = lrn::Type::f32; return true;
            case ffi::f64: problem.type = lrn::Type::f64; return true;
            case ffi::f16: problem.type = lrn::Type::f16; return true;
            case ffi::bf16: problem.type = lrn::Type::bf16; return true;
            default: return false;
        }
    }

    bool read_box() {
        ffi::Array axes, before, after;
        if (!attribute("axes", axes) || !attribute("before", before) || !attribute("after", after) ||
            before.size != axes.size || after.size != axes.size)
            return false;
        const auto value = [](const ffi::Array& of, std::size_t i) { return static_cast<const std::int64_t*>(of.data)[i]; };
        for (std::size_t i = 0; i < axes.size; ++i) {
            const std::int64_t a = value(axes, i);
            if (a < 0 || a >= problem.rank || value(before, i) < 0 || value(after, i) < 0) return false;
            problem.axis[a].before = value(before, i);
            problem.axis[a].after = value(after, i);
        }
        return true;
    }

    bool add(lrn::Operand which, const ffi::Buffer* array) {
        const ffi::Buffer& x = *operand(0);
        if (!array || array->type != x.type || array->rank != x.rank) return false;
        problem.data[which] = array->data;
        elements = 1;
        for (std::int64_t a = x.rank - 1; a >= 0; --a) {
            if (array->size[a] != x.size[a]) return false;
            problem.axis[a].size = x.size[a];
            problem.axis[a].stride[which] = elements;
            elements *= x.size[a];
        }
        return true;
    }

    template <class Value>
    void write(const lrn::ParameterGradients& total) const {
        const double values[] = {total.scale, total.beta, total.bias};
        for (int i = 0; i < 3; ++i) static_cast<Value*>(result()->data)[i] = Value(values[i]);
    }

    ffi::Error* run_parameters() {
        const ffi::Buffer* to = result();
        if (!to || to->rank != 1 || to->size[0] != 3 || (to->type != ffi::f32 && to->type != ffi::f64))
            return refused("lrnorm: the result must be three numbers");
        lrn::ParameterGradients total{0, 0, 0};
        if (elements != 0 && !lrn::parameters(problem, total)) return no_memory();
        to->type == ffi::f64 ? write<double>(total) : write<float>(total);
        return nullptr;
    }

    ffi::Frame& frame;
    lrn::BoxProblem problem{};
    std::int64_t next = 0, elements = 0;
};

template <int verb>
ffi::Error* handle(ffi::Frame* frame) {
    ffi::Extension* extension = frame->head.extension;
    if (extension && extension->kind == ffi::metadata_extension) {  // asked before the first call
        ffi::Metadata& metadata = *reinterpret_cast<ffi::MetadataExtension*>(extension)->metadata;
        metadata.version = {{sizeof(ffi::Version), nullptr}, ffi::major_version, ffi::minor_version};
        metadata.traits = 0;
        return nullptr;
    }
    return frame->stage == ffi::execute_stage ? Call(*frame).run(verbs[verb]) : nullptr;
}

constexpr ffi::Error* (*handlers[])(ffi::Frame*) = {handle<0>, handle<1>, handle<2>, handle<3>};
static_assert(std::size(handlers) == std::size(verbs));

}  // namespace

void* lrn::xla_handler(const char* name) {
    for (std::size_t i = 0; i < std::size(verbs); ++i)
        if (std::strcmp(verbs[i].name, name) == 0) return reinterpret_cast<void*>(handlers[i]);
    return nullptr;
}

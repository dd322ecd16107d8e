// Arrays of rank 3 (batch, channels, pixels) that lie in memory in many ways, between guards.
#pragma once

#include <random>

#include "numbers.h"

namespace arrays {

using lrn::Type;
using i64 = std::int64_t;

enum class Layout { first, last, strided, reversed, shifted };
constexpr Layout layouts[] = {Layout::first, Layout::last, Layout::strided, Layout::reversed, Layout::shifted};
constexpr const char* layout_names[] = {"channels first", "channels last", "strided", "reversed", "shifted by one"};

struct Shape {
    i64 batch, channels, pixels;
    i64 count() const { return batch * channels * pixels; }
};

// Values in order (batch, channel, pixel).
using Values = std::vector<double>;

class Array {
public:
    Array(Type type, Shape shape, Layout layout) : type(type), shape(shape) {
        const i64 c = shape.channels, p = shape.pixels, step = layout == Layout::strided ? 3 : 1;
        const bool last = layout == Layout::last;
        stride[2] = last ? c : step;
        stride[1] = last ? 1 : p * step;
        stride[0] = c * p * step;
        i64 start = guard + (layout == Layout::shifted ? 1 : 0);
        if (layout == Layout::reversed)
            for (int axis = 0; axis < 3; ++axis) {
                start += stride[axis] * (axis == 0 ? shape.batch - 1 : axis == 1 ? c - 1 : p - 1);
                stride[axis] = -stride[axis];
            }
        const std::size_t item = lrn::item_size(type);
        memory.assign((std::size_t(shape.count() * step) + 2 * guard + 1) * item + 64, std::byte{0xa5});
        const std::size_t address = reinterpret_cast<std::uintptr_t>(memory.data());
        data = memory.data() + (64 - address % 64) % 64 + std::size_t(start) * item;
    }
    Array(const Array&) = delete;

    void* at(i64 b, i64 c, i64 p) const {
        return data + (b * stride[0] + c * stride[1] + p * stride[2]) * i64(lrn::item_size(type));
    }
    template <class Body>
    void each(Body body) const {
        for (i64 b = 0, i = 0; b < shape.batch; ++b)
            for (i64 c = 0; c < shape.channels; ++c)
                for (i64 p = 0; p < shape.pixels; ++p, ++i) body(at(b, c, p), i);
    }
    void fill(const Values& values) {
        each([&](void* place, i64 i) { numbers::write(type, place, values[std::size_t(i)]); });
    }
    Values values() const {
        Values result(std::size_t(shape.count()));
        each([&](const void* place, i64 i) { result[std::size_t(i)] = numbers::read(type, place); });
        return result;
    }
    // Whether the bytes that are no elements are as they were. Spoils the elements.
    bool guards_hold() {
        each([&](void* place, i64) { std::memset(place, 0xa5, lrn::item_size(type)); });
        return std::all_of(memory.begin(), memory.end(), [](std::byte b) { return b == std::byte{0xa5}; });
    }

    const Type type;
    const Shape shape;
    i64 stride[3];

private:
    static constexpr i64 guard = 64;
    std::vector<std::byte> memory;
    std::byte* data;
};

enum class Kind { normal, by_pixel, by_element, largest, smallest, subnormal, sparse };
constexpr Kind kinds[] = {Kind::normal,   Kind::by_pixel,  Kind::by_element, Kind::largest,
                          Kind::smallest, Kind::subnormal, Kind::sparse};
constexpr const char* kind_names[] = {"normal",   "by pixel",  "by element", "largest",
                                      "smallest", "subnormal", "sparse"};

// Values that reach every part of a type's range, rounded to it.
inline Values values_of(Kind kind, Type type, Shape shape, unsigned seed) {
    const numbers::Format& format = numbers::format_of(type);
    std::mt19937_64 random(seed);
    const auto uniform = [&](double low, double high) {
        return low + (high - low) * double(random() >> 11) * 0x1p-53;
    };
    const auto normal = [&] {
        double sum = -6;
        for (int i = 0; i < 12; ++i) sum += uniform(0, 1);
        return sum;
    };
    const double decades = type == Type::f16 ? 4 : 17;
    std::vector<double> of_pixel(std::size_t(shape.pixels));
    for (double& v : of_pixel) v = std::pow(10.0, uniform(-decades, decades - 1));
    Values values(std::size_t(shape.count()));
    for (std::size_t i = 0; i < values.size(); ++i) {
        double v = normal();
        switch (kind) {
            case Kind::normal: break;
            case Kind::by_pixel: v *= of_pixel[i % of_pixel.size()]; break;
            case Kind::by_element: v *= std::exp(uniform(-8, 8)); break;
            case Kind::largest: v = uniform(0.1, 1) * format.largest; break;
            case Kind::smallest: v = uniform(0.1, 8) * format.tiny; break;
            case Kind::subnormal: v = uniform(0.01, 1) * format.tiny; break;
            case Kind::sparse: v = uniform(0, 1) > 0.6 ? v : 0; break;
        }
        v = numbers::rounded(v, format);
        values[i] = std::isinf(v) ? std::copysign(format.largest, v) : v;
    }
    return values;
}

}  // namespace arrays

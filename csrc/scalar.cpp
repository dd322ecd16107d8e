#include "scalar.h"

namespace lrn::scalar {
namespace {

// Sums stop at nan: nothing changes it any more, and adding to it is very slow on x87.
bool is_nan(Real v) { return v != v; }

Real energy(const double* x, std::int64_t count, const Coefficients& k) {
    Real sum = 0;
    for (std::int64_t j = 0; j < count && !is_nan(sum); ++j) sum += Real(x[j]) * Real(x[j]);
    return Real(k.bias) + Real(k.scale) * sum;
}

}  // namespace

double forward(const double* x, std::int64_t count, std::int64_t centre, const Coefficients& k) {
    return double(Real(x[centre]) * power(energy(x, count, k), k.beta));
}

double jvp(const double* x, const double* t, std::int64_t count, std::int64_t centre,
           const Coefficients& k) {
    const Real d = energy(x, count, k), to_beta = power(d, k.beta);
    Real sum = 0;
    for (std::int64_t j = 0; j < count; ++j) sum += Real(x[j]) * Real(t[j]);
    const Real direct = Real(t[centre]) * to_beta;
    const Real factor = 2 * Real(k.scale) * Real(k.beta);
    return double(factor == 0 ? direct : direct - factor * Real(x[centre]) * (to_beta / d) * sum);
}

ParameterGradients parameters(const double* x, double g, std::int64_t count, std::int64_t centre,
                              const Coefficients& k) {
    Real sum = 0;
    for (std::int64_t j = 0; j < count; ++j) sum += Real(x[j]) * Real(x[j]);
    const Real d = Real(k.bias) + Real(k.scale) * sum;
    const Real h = Real(g) * Real(x[centre]) * power(d, k.beta);
    const Real slope = -Real(k.beta) * (h / d);
    return {double(slope * sum), double(-h * log(d)), double(slope)};
}

void vjp(const double* x, const double* g, std::int64_t channels, const Coefficients& k,
         std::int64_t first, std::int64_t last, double* dx, Real* work) {
    Real* direct = work;
    Real* through = work + channels;
    const auto low = [](std::int64_t i) { return i < 0 ? 0 : i; };
    const auto high = [&](std::int64_t i) { return i < channels ? i : channels - 1; };
    for (std::int64_t m = low(first - k.after); m <= high(last + k.before); ++m) {
        const std::int64_t begin = low(m - k.before), end = high(m + k.after);
        const Real d = energy(x + begin, end - begin + 1, k);
        direct[m] = Real(g[m]) * power(d, k.beta);
        through[m] = direct[m] * Real(x[m]) / d;
    }
    const Real factor = 2 * Real(k.scale) * Real(k.beta);
    for (std::int64_t c = first; c <= last; ++c) {
        Real sum = 0;
        for (std::int64_t m = low(c - k.after); m <= high(c + k.before) && !is_nan(sum); ++m)
            sum += through[m];
        dx[c] = double(factor == 0 ? direct[c] : direct[c] - factor * Real(x[c]) * sum);
    }
}


Pixel whole(const double* x, const double* g, std::int64_t count, const Coefficients& k) {
    const Real d = energy(x, count, k), to_beta = power(d, k.beta);
    if (!g) return {to_beta, Real(0)};
    Real sum = 0;
    for (std::int64_t j = 0; j < count && !is_nan(sum); ++j) sum += Real(x[j]) * Real(g[j]);
    const Real factor = 2 * Real(k.scale) * Real(k.beta);
    // Without energy nothing comes through, not even nan.
    return {to_beta, factor == 0 ? Real(0) : factor * (to_beta / d) * sum};
}

double output(double x, double g, const Pixel& pixel, bool derivative) {
    if (!derivative) return double(Real(x) * pixel.power);
    const Real direct = Real(g) * pixel.power;
    return double(pixel.through == 0 ? direct : direct - Real(x) * pixel.through);
}

ParameterGradients whole_parameters(const double* x, const double* g, std::int64_t count, const Coefficients& k) {
    Real squares = 0, products = 0;
    for (std::int64_t j = 0; j < count; ++j) {
        squares += Real(x[j]) * Real(x[j]);
        products += Real(g[j]) * Real(x[j]);
    }
    const Real d = Real(k.bias) + Real(k.scale) * squares;
    const Real h = products * power(d, k.beta), slope = -Real(k.beta) * (h / d);
    return {double(slope * squares), double(-h * log(d)), double(slope)};
}

}  // namespace lrn::scalar

#include "box_scalar.h"

namespace lrn::scalar {
namespace {

Real energy(Real squares, const Coefficients& k) { return Real(k.bias) + Real(k.scale) * squares; }
Real factor(const Coefficients& k) { return 2 * Real(k.scale) * Real(k.beta); }

}  // namespace

double box_forward(double x, Real squares, const Coefficients& k) {
    return double(Real(x) * power(energy(squares, k), k.beta));
}

double box_jvp(double x, double t, Real squares, Real products, const Coefficients& k) {
    const Real d = energy(squares, k), to_beta = power(d, k.beta), direct = Real(t) * to_beta;
    return double(factor(k) == 0 ? direct : direct - factor(k) * Real(x) * (to_beta / d) * products);
}

ParameterGradients box_parameters(double x, double g, Real squares, const Coefficients& k) {
    const Real d = energy(squares, k), h = Real(g) * Real(x) * power(d, k.beta), slope = -Real(k.beta) * (h / d);
    return {double(slope * squares), double(-h * log(d)), double(slope)};
}

BoxTerms box_terms(double x, double g, Real squares, const Coefficients& k) {
    const Real d = energy(squares, k), direct = Real(g) * power(d, k.beta);
    return {direct, direct * Real(x) / d};
}

double box_vjp(double x, Real direct, Real through, const Coefficients& k) {
    return double(factor(k) == 0 ? direct : direct - factor(k) * Real(x) * through);
}

}  // namespace lrn::scalar

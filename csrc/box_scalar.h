// One element of a box window in more than double precision (real.h), from sums that are known: for the elements whose
// squares or powers leave the range of the vector code.
#pragma once

#include "lrn.h"
#include "real.h"

namespace lrn::scalar {

double box_forward(double x, Real squares, const Coefficients&);
double box_jvp(double x, double t, Real squares, Real products, const Coefficients&);
ParameterGradients box_parameters(double x, double g, Real squares, const Coefficients&);

// What the cotangent of an element adds to its own gradient, and what it sends to its box.
struct BoxTerms {
    Real direct, through;
};
BoxTerms box_terms(double x, double g, Real squares, const Coefficients&);
double box_vjp(double x, Real direct, Real through, const Coefficients&);

}  // namespace lrn::scalar

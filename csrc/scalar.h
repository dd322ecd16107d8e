// Straight loops in more than double precision (real.h): what is computed for the rare elements whose squares or powers
// leave the range of the vector code.
#pragma once

#include "lrn.h"
#include "real.h"

namespace lrn::scalar {

// One output from its window: x[0..count), the element itself at `centre`.
double forward(const double* x, std::int64_t count, std::int64_t centre, const Coefficients&);
double jvp(const double* x, const double* t, std::int64_t count, std::int64_t centre,
           const Coefficients&);
// The three terms one element adds to the parameter gradients.
ParameterGradients parameters(const double* x, double g, std::int64_t count, std::int64_t centre,
                              const Coefficients&);

// dx[first..last] of one pixel from all its channels. `work` holds 2 * channels numbers.
void vjp(const double* x, const double* g, std::int64_t channels, const Coefficients&,
         std::int64_t first, std::int64_t last, double* dx, Real* work);

// Windows that hold the whole axis: what all outputs of one pixel share. `g` may be null.
struct Pixel {
    Real power, through;
};
Pixel whole(const double* x, const double* g, std::int64_t count, const Coefficients&);
double output(double x, double g, const Pixel&, bool derivative);
ParameterGradients whole_parameters(const double* x, const double* g, std::int64_t count, const Coefficients&);

}  // namespace lrn::scalar

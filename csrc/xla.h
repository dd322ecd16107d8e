// The core as XLA calls it: handlers of its typed foreign function interface, by name.
//
// "forward" (x) -> y, "vjp" (x, g) -> dx, "jvp" (x, t) -> dy, "parameters" (x, g) -> [scale, beta, bias],
// of dense row-major buffers. Attributes before, after and axes are arrays of int64; scale, beta and bias are
// float64 attributes or, where there is none of that name, operands of one element behind the others.
#pragma once

namespace lrn {

// Null for a name that is none of these.
void* xla_handler(const char* name);

}  // namespace lrn

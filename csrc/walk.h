// What the walks over windows along one axis and over boxes share.
#pragma once

#include "tile.h"

namespace lrn {

Power power_of(double beta);

// Squares of float, and their sums, keep enough digits below such a scale. Scale 0 makes nan of an
// infinite sum, which only sums in double do right.
inline bool scales_floats(double scale) { return scale > 0x1p-60 && scale < 0x1p20; }

// 0, or far from either end of float's range.
inline bool moderate(double v) {
    const double size = v < 0 ? -v : v;
    return size == 0 || (size > 0x1p-100 && size < 0x1p100);
}

}  // namespace lrn

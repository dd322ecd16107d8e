// What the walks over windows along one axis and over boxes share.
#pragma once

#include "tile.h"

namespace lrn {

Power power_of(double beta);

}  // namespace lrn

#pragma once

#include "tile.h"

namespace lrn {

const KernelTable& kernels_in_use();

}  // namespace lrn

// Work sharing in which the caller works too, and waits only for pieces that have begun.
#pragma once

#include <cstdint>

namespace lrn {

// Calls piece(context, i) for each i in 0..count, on the calling thread and up to threads - 1
// others. Returns when all pieces are done. A second caller at the same time computes alone.
void share(std::int64_t count, int threads, void (*piece)(const void*, std::int64_t),
           const void* context);

}  // namespace lrn

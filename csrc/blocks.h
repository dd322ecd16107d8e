// Memory for large results. The system hands out pages that it must first find and clear, which
// takes longer than the arithmetic. What is given back here stays mapped, but marked as free
// (platform.h): the system takes the pages whenever it wants them, and until then the next result
// of about that size finds them in their place.
#pragma once

#include <cstddef>

namespace lrn {

struct Block {
    void* data;  // null: there is no memory
    std::size_t size;
    bool fresh;  // no page of it was written yet
};

Block take_block(std::size_t bytes);
void give_block(const Block&);

}  // namespace lrn

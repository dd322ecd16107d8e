#include "posix.hpp"

namespace lrn::platform {

// The system chooses the size of its pages by itself.
void advise_large_pages(const void*, std::size_t) {}

// A process cannot be confined to some processors here.
int usable_processors() {
    const unsigned count = std::thread::hardware_concurrency();
    return count ? int(count) : 1;
}

}  // namespace lrn::platform

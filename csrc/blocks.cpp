#include "blocks.h"

#include <mutex>

#include "platform.h"

namespace lrn {
namespace {

constexpr std::size_t large_page = 2 << 20;
constexpr std::size_t most_bytes = std::size_t(512) << 20;
constexpr int most_blocks = 16;

// Never waited for: who finds it taken maps or unmaps a block of its own. So a child of fork that
// inherits it locked, by a thread it does not have, goes on.
std::mutex lock;
Block kept[most_blocks];  // the oldest first
int count = 0;
std::size_t bytes_kept = 0;

Block remove(int index) {
    const Block block = kept[index];
    bytes_kept -= block.size;
    --count;
    for (int i = index; i < count; ++i) kept[i] = kept[i + 1];
    return block;
}

// The smallest one that holds `bytes` without wasting a quarter, or -1.
int fitting(std::size_t bytes) {
    int best = -1;
    for (int i = 0; i < count; ++i)
        if (kept[i].size >= bytes && kept[i].size - bytes <= bytes / 4 &&
            (best < 0 || kept[i].size < kept[best].size))
            best = i;
    return best;
}

// Whole large pages, where a large page may lie.
Block map_block(std::size_t bytes) {
    const std::size_t size = (bytes + large_page - 1) / large_page * large_page;
    void* const pages = size < bytes ? nullptr : platform::map_pages(size, large_page);
    return {pages, pages ? size : 0, true};
}

}  // namespace

Block take_block(std::size_t bytes) {
    if (const std::unique_lock<std::mutex> held(lock, std::try_to_lock); held)
        if (const int index = fitting(bytes); index >= 0) return remove(index);
    return map_block(bytes);
}

void give_block(const Block& block) {
    if (block.size <= most_bytes && platform::mark_free(block.data, block.size)) {
        if (const std::unique_lock<std::mutex> held(lock, std::try_to_lock); held) {
            while (count == most_blocks || bytes_kept + block.size > most_bytes) {
                const Block oldest = remove(0);
                platform::unmap_pages(oldest.data, oldest.size);
            }
            kept[count++] = {block.data, block.size, false};
            bytes_kept += block.size;
            return;
        }
    }
    platform::unmap_pages(block.data, block.size);
}

}  // namespace lrn

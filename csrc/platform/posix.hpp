// What Linux and macOS have in common. Included by the file of one system.
#pragma once

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "../platform.h"

namespace lrn::platform {

std::size_t page_size() {
    static const long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? std::size_t(size) : 4096;
}

void* map_pages(std::size_t bytes, std::size_t alignment) {
    if (bytes + alignment < bytes) return nullptr;
    void* mapped = mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    char* const start = static_cast<char*>(mapped);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(start) % alignment;
    if (before) munmap(start, before);
    munmap(start + before + bytes, alignment - before);
    return start + before;
}

void unmap_pages(void* pages, std::size_t bytes) { munmap(pages, bytes); }

bool mark_free([[maybe_unused]] void* pages, [[maybe_unused]] std::size_t bytes) {
#if defined(MADV_FREE)
    return madvise(pages, bytes, MADV_FREE) == 0;
#else
    return false;
#endif
}

void on_fork_in_child(void (*reset)()) { pthread_atfork(nullptr, nullptr, reset); }

void stop_thread() {
    for (;;) ::pause();
}

}  // namespace lrn::platform

#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <thread>

#include "../platform.h"

namespace lrn::platform {

std::size_t page_size() {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
}

// Aligned to 64 KB only: large pages need a privilege that programs do not have.
void* map_pages(std::size_t bytes, std::size_t) {
    return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void unmap_pages(void* pages, std::size_t) { VirtualFree(pages, 0, MEM_RELEASE); }

bool mark_free(void* pages, std::size_t bytes) {
    return VirtualAlloc(pages, bytes, MEM_RESET, PAGE_READWRITE) != nullptr;
}

void advise_large_pages(const void*, std::size_t) {}

int usable_processors() {
    DWORD_PTR process, system;
    int count = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &process, &system))
        for (; process; process &= process - 1) ++count;
    // The mask is empty where the process runs in several groups of 64 processors.
    if (count == 0) count = int(std::thread::hardware_concurrency());
    return count ? count : 1;
}

void on_fork_in_child(void (*)()) {}  // there are no forks

void stop_thread() {
    for (;;) Sleep(INFINITE);
}

}  // namespace lrn::platform

#include "threads.h"

#include <sched.h>
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "tile.h"

namespace lrn {
namespace {

constexpr int most_threads = 1024;

struct Job {
    Job(std::int64_t count, int seats, void (*piece)(const void*, std::int64_t), const void* context)
        : count(count), piece(piece), context(context), seats(seats) {}

    // Takes pieces until none is left. The last one to finish wakes the caller.
    void work() {
        for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
            piece(context, i);
            if (finished.fetch_add(1, std::memory_order_acq_rel) + 1 == count) finished.notify_all();
        }
    }

    void wait() {
        for (std::int64_t done; (done = finished.load(std::memory_order_acquire)) < count;)
            finished.wait(done, std::memory_order_acquire);
    }

    const std::int64_t count;
    void (*const piece)(const void*, std::int64_t);
    const void* const context;
    std::atomic<int> seats;  // workers that may still join
    std::atomic<std::int64_t> next{0}, finished{0};
};

// Workers sleep until a job is posted. They hold the job by shared ownership: one that wakes
// after the caller has gone finds no piece left and touches nothing else.
class Pool {
public:
    void run(std::int64_t count, int threads, void (*piece)(const void*, std::int64_t),
             const void* context) {
        if (taken.exchange(true, std::memory_order_acquire)) {
            for (std::int64_t i = 0; i < count; ++i) piece(context, i);
            return;
        }
        const auto job = std::make_shared<Job>(count, threads - 1, piece, context);
        {
            const std::lock_guard lock(mutex);
            start_workers(threads - 1);
            posted = job;
            ++posts;
        }
        if (threads == 2) wake.notify_one();
        else wake.notify_all();
        job->work();
        {
            const std::lock_guard lock(mutex);
            posted.reset();
        }
        job->wait();
        taken.store(false, std::memory_order_release);
    }

private:
    void start_workers(int wanted) {
        while (workers < wanted) {
            try {
                std::thread([this] { serve(); }).detach();
            } catch (const std::system_error&) {
                return;  // the system has no more threads to give: the caller works on
            }
            ++workers;
        }
    }

    [[noreturn]] void serve() {
        std::uint64_t seen = 0;
        for (;;) {
            std::shared_ptr<Job> job;
            {
                std::unique_lock lock(mutex);
                wake.wait(lock, [&] { return posted && posts != seen; });
                seen = posts;
                job = posted;
            }
            if (job->seats.fetch_sub(1, std::memory_order_relaxed) > 0) job->work();
        }
    }

    std::atomic<bool> taken{false};
    std::mutex mutex;
    std::condition_variable wake;
    std::shared_ptr<Job> posted;
    std::uint64_t posts = 0;
    int workers = 0;
};

// Never destroyed: workers may sleep in it until the process ends. A forked child has none of
// its parent's threads and begins with a pool of its own.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
    static const bool registered = [] {
        pool.store(new Pool);
        pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool); });
        return true;
    }();
    (void)registered;
    return *pool.load(std::memory_order_acquire);
}

std::atomic<int> wanted_threads{0};  // 0: as many as there are processors

}  // namespace

int usable_processors() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    const unsigned count = std::thread::hardware_concurrency();
    return count ? int(count) : 1;
}

int thread_count() {
    const int wanted = wanted_threads.load(std::memory_order_relaxed);
    if (wanted) return wanted;
    static const int processors = usable_processors();
    return processors;
}

void set_thread_count(int count) {
    wanted_threads.store(count < most_threads ? count : most_threads, std::memory_order_relaxed);
}

void share(std::int64_t count, int threads, void (*piece)(const void*, std::int64_t),
           const void* context) {
    if (threads > count) threads = int(count);
    if (threads > 1) return the_pool().run(count, threads, piece, context);
    for (std::int64_t i = 0; i < count; ++i) piece(context, i);
}

void* scratch(std::size_t bytes) {
    struct Buffer {
        void* data = nullptr;
        std::size_t size = 0;
        ~Buffer() { std::free(data); }
    };
    static thread_local Buffer buffer;
    if (bytes > buffer.size) {
        std::free(buffer.data);
        buffer.size = (bytes + 4095) / 4096 * 4096;
        buffer.data = std::aligned_alloc(4096, buffer.size);
        if (!buffer.data) buffer.size = 0;
    }
    return buffer.data;
}

}  // namespace lrn

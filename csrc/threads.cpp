#include "threads.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "platform.h"
#include "tile.h"

namespace lrn {
namespace {

constexpr int most_threads = 1024;

constexpr std::size_t most_kept = 16 << 20;
const std::size_t page = platform::page_size();

struct Buffer {
    void resize(std::size_t bytes) {
        ::operator delete(data, std::align_val_t(page));
        data = bytes ? ::operator new(bytes, std::align_val_t(page), std::nothrow) : nullptr;
        size = data ? bytes : 0;
    }
    ~Buffer() { resize(0); }
    void* data = nullptr;
    std::size_t size = 0;
};
thread_local Buffer buffer;

// Going to sleep and being woken costs more than a small call: whoever waits looks on for about
// as long first. Longer would take processors from others.
constexpr auto patience = std::chrono::microseconds(20);

template <class Done>
bool look_on(Done done) {
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
        for (int i = 0; i < 32; ++i) {
            if (done()) return true;
            platform::pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

void one_after_another(std::int64_t count, void (*piece)(const void*, std::int64_t), const void* context) {
    for (std::int64_t i = 0; i < count; ++i) piece(context, i);
}

// The pieces lie in as many stretches as there are threads. Each thread begins with a stretch of
// its own, so that the next call finds in its cache what this one left there, and then helps with
// the others.
struct Job {
    Job(std::int64_t count, int threads, void (*piece)(const void*, std::int64_t), const void* context)
        : count(count), threads(threads), piece(piece), context(context), taken(new Counter[std::size_t(threads)]) {}

    std::int64_t begin_of(int stretch) const { return count * stretch / threads; }

    // Takes pieces until none is left. The last one to finish wakes the caller.
    void work(int seat) {
        for (int k = 0; k < threads; ++k) {
            const int stretch = (seat + k) % threads;
            const std::int64_t first = begin_of(stretch), behind = begin_of(stretch + 1);
            for (std::int64_t i; (i = first + taken[stretch].value.fetch_add(1, std::memory_order_relaxed)) < behind;) {
                piece(context, i);
                if (finished.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
                    const std::lock_guard lock(asleep);
                    end.notify_all();
                }
            }
        }
    }

    // Not by std::atomic's own wait: where the system has none, as on Windows, libstdc++ 12 can lose
    // the wake-up between its look at the value and its sleep.
    void wait() {
        const auto over = [&] { return finished.load(std::memory_order_acquire) == count; };
        if (look_on(over)) return;
        std::unique_lock lock(asleep);
        end.wait(lock, over);
    }

    struct alignas(64) Counter {
        std::atomic<std::int64_t> value{0};
    };
    const std::int64_t count;
    const int threads;
    void (*const piece)(const void*, std::int64_t);
    const void* const context;
    const std::unique_ptr<Counter[]> taken;
    std::atomic<int> seated{1};  // the caller has seat 0
    std::atomic<std::int64_t> finished{0};
    std::mutex asleep;
    std::condition_variable end;
};

// Workers sleep until a job is posted. They hold the job by shared ownership: one that wakes
// after the caller has gone finds no piece left and touches nothing else.
class Pool {
public:
    void run(std::int64_t count, int threads, void (*piece)(const void*, std::int64_t),
             const void* context) {
        if (taken.exchange(true, std::memory_order_acquire)) return one_after_another(count, piece, context);
        std::shared_ptr<Job> job;
        try {
            job = std::make_shared<Job>(count, threads, piece, context);
        } catch (const std::bad_alloc&) {
            taken.store(false, std::memory_order_release);
            return one_after_another(count, piece, context);
        }
        {
            const std::lock_guard lock(mutex);
            start_workers(threads - 1);
            posted = job;
            posts.fetch_add(1, std::memory_order_relaxed);
        }
        wake.notify_all();
        job->work(0);
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
            } catch (const std::exception&) {
                return;  // the system has no more threads or memory to give: the caller works on
            }
            ++workers;
        }
    }

    [[noreturn]] void serve() {
        std::uint64_t seen = 0;
        for (;;) {
            std::shared_ptr<Job> job;
            look_on([&] { return posts.load(std::memory_order_relaxed) != seen; });
            {
                std::unique_lock lock(mutex);
                wake.wait(lock, [&] { return posted && posts.load(std::memory_order_relaxed) != seen; });
                seen = posts.load(std::memory_order_relaxed);
                job = posted;
            }
            const int seat = job->seated.fetch_add(1, std::memory_order_relaxed);
            if (seat < job->threads) job->work(seat);
        }
    }

    std::atomic<bool> taken{false};
    std::mutex mutex;
    std::condition_variable wake;
    std::shared_ptr<Job> posted;
    std::atomic<std::uint64_t> posts{0};  // changed under the mutex, watched without
    int workers = 0;
};

// Never destroyed: workers may sleep in it until the process ends. A forked child has none of
// its parent's threads: a new pool takes the old one's place there, without any allocation, as
// another thread may have held the allocator's lock. Set up when the module is loaded.
alignas(Pool) std::byte place_of_pool[sizeof(Pool)];
Pool* const pool = [] {
    platform::on_fork_in_child([] { new (place_of_pool) Pool; });
    return new (place_of_pool) Pool;
}();

std::atomic<int> wanted_threads{0};  // 0: as many as there are processors

}  // namespace

int usable_processors() { return platform::usable_processors(); }

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
    if (threads > 1) return pool->run(count, threads, piece, context);
    one_after_another(count, piece, context);
}

void* scratch(std::size_t bytes) {
    if (bytes > buffer.size) {
        buffer.resize(0);
        buffer.resize((bytes + page - 1) / page * page);
    }
    return buffer.data;
}

void trim_scratch() {
    if (buffer.size > most_kept) buffer.resize(0);
}

}  // namespace lrn

#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

namespace neuralcodec {
namespace {

std::atomic<int> busy{0};  // threads at work, of all calls

struct Job {
    const std::function<void(ptrdiff_t)>& work;
    const ptrdiff_t count;
    int wanted;     // helpers that may still begin
    int begun = 0;  // helpers at work
    std::atomic<ptrdiff_t> next{0};

    void run() noexcept {
        for (ptrdiff_t i; (i = next.fetch_add(1)) < count;) work(i);
    }
};

// Threads that wait for jobs. They end with the process.
struct Helpers {
    std::mutex mutex;  // of all that follows, and of the jobs' numbers of helpers
    std::condition_variable wake, done;
    std::list<Job*> jobs;
    int threads = 0;

    void help() {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            const auto found = std::find_if(jobs.begin(), jobs.end(), [](const Job* job) { return job->wanted > 0; });
            if (found == jobs.end()) {
                wake.wait(lock);
                continue;
            }
            Job& job = **found;
            job.wanted--;
            job.begun++;
            lock.unlock();
            busy.fetch_add(1);
            job.run();
            busy.fetch_sub(1);
            lock.lock();
            if (--job.begun == 0) done.notify_all();
        }
    }

    // Begins threads until there are so many. Signals are for others.
    void grow(int wanted) {
#if !defined(_WIN32)
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
        try {
            for (; threads < wanted; threads++) std::thread([this] { help(); }).detach();
        } catch (const std::system_error&) {  // no more threads to be had: those that there are do the work
        }
#if !defined(_WIN32)
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    }
};

std::atomic<Helpers*> known{nullptr};

#if !defined(_WIN32)
// A forked child has none of the other threads of its parent.
[[maybe_unused]] const int forgets_in_child = pthread_atfork(nullptr, nullptr, [] {
    busy = 0;
    known = nullptr;
});
#endif

// Never destroyed: threads wait in it.
Helpers& helpers() {
    Helpers* found = known;
    if (!found) {
        Helpers* made = new Helpers;
        if (known.compare_exchange_strong(found, made))
            found = made;
        else
            delete made;
    }
    return *found;
}

}  // namespace

void parallel(ptrdiff_t count, int threads, const std::function<void(ptrdiff_t)>& work) {
    const int before = busy.fetch_add(1);
    const int wanted = int(std::min<ptrdiff_t>(std::max(0, threads - before - 1), count - 1));
    Job job{work, count, std::max(0, wanted)};
    if (wanted <= 0) {
        job.run();
        busy.fetch_sub(1);
        return;
    }
    Helpers& all = helpers();
    std::list<Job*> own{&job};
    {
        std::lock_guard<std::mutex> lock(all.mutex);
        if (all.threads < wanted) all.grow(wanted);
        all.jobs.splice(all.jobs.end(), own);
    }
    for (int i = 0; i < wanted; i++) all.wake.notify_one();
    job.run();
    {
        // Those that have not begun by now need not: on a machine with much to do, they may for long be asleep.
        std::unique_lock<std::mutex> lock(all.mutex);
        all.jobs.remove(&job);
        all.done.wait(lock, [&] { return job.begun == 0; });
    }
    busy.fetch_sub(1);
}

void yield() { std::this_thread::yield(); }

}  // namespace neuralcodec

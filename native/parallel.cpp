#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace neuralcodec {
namespace {

std::atomic<int> busy{0};  // threads at work, of all calls

#if !defined(_WIN32)
// A forked child has none of the other threads of its parent.
[[maybe_unused]] const int forgets_in_child = pthread_atfork(nullptr, nullptr, [] { busy = 0; });
#endif

}  // namespace

void parallel(ptrdiff_t count, int threads, const std::function<void(ptrdiff_t)>& work) {
    const int before = busy.fetch_add(1);
    const int helpers = int(std::min<ptrdiff_t>(std::max(0, threads - before - 1), count - 1));
    if (helpers <= 0) {
        for (ptrdiff_t i = 0; i < count; i++) work(i);
        busy.fetch_sub(1);
        return;
    }
    busy.fetch_add(helpers);
    std::atomic<ptrdiff_t> next{0};
    const auto run = [&] {
        for (ptrdiff_t i; (i = next.fetch_add(1)) < count;) work(i);
    };
    std::vector<std::thread> others;
    others.reserve(size_t(helpers));
    try {
        for (int i = 0; i < helpers; i++) others.emplace_back(run);
    } catch (const std::system_error&) {  // no more threads to be had: those that there are do the work
    }
    run();
    for (std::thread& other : others) other.join();
    busy.fetch_sub(helpers + 1);
}

}  // namespace neuralcodec

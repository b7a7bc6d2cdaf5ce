// Work shared out among threads.
#pragma once

#include <cstddef>
#include <functional>

namespace neuralcodec {

// Calls work(i) for every 0 <= i < count, on at most `threads` threads, the caller's among them.
//
// All calls together use about as many threads as the largest `threads` of them: threads that call at once share them.
// Threads wait for the next call, and a call only for those that have begun with it: to wake one takes some microseconds, and
// where other processes keep the cores, it comes late or never. A forked child begins its own. `work` does not throw.
void parallel(ptrdiff_t count, int threads, const std::function<void(ptrdiff_t)>& work);

// Lets another thread have the core.
void yield();

}  // namespace neuralcodec

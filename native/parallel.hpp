// Work shared out among threads.
#pragma once

#include <cstddef>
#include <functional>

namespace neuralcodec {

// Calls work(i) for every 0 <= i < count, on at most `threads` threads, the caller's among them.
//
// All calls together use about as many threads as the largest `threads` of them: threads that call at once share them.
// Threads begin and end with the call. That costs some 20 microseconds, and leaves nothing that a forked child would miss.
void parallel(ptrdiff_t count, int threads, const std::function<void(ptrdiff_t)>& work);

}  // namespace neuralcodec

// Work is not shared out here: tiles are, among workers, each with an instance of its own.
#include "parallel.hpp"

namespace neuralcodec {

void parallel(ptrdiff_t count, int, const std::function<void(ptrdiff_t)>& work) {
    for (ptrdiff_t i = 0; i < count; i++) work(i);
}

void yield() {}

}  // namespace neuralcodec

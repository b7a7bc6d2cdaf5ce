// Memory that is used again: the pages of fresh memory cost about as much as a convolution of 1 x 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace neuralcodec {

// Memory of at least `size` bytes, aligned for vectors; `size` becomes how many there are. What was given back is used
// again, as long as it is about as large as what is asked for; little memory is not worth it. Neither of both locks: they
// are called while the interpreter's lock is held.
void* take(size_t& size);
void give_back(void* memory, size_t size);

struct GiveBack {
    size_t size;
    void operator()(void* memory) const { give_back(memory, size); }
};

template <class T>
using Numbers = std::unique_ptr<T[], GiveBack>;

// Numbers that are not yet defined. Throws std::bad_alloc.
template <class T>
Numbers<T> numbers(size_t count) {
    if (count > size_t(PTRDIFF_MAX) / sizeof(T)) throw std::bad_alloc();
    size_t size = count * sizeof(T);
    T* first = static_cast<T*>(take(size));
    return {first, {size}};
}

}  // namespace neuralcodec

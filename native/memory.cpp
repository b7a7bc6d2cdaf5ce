#include "memory.hpp"

#include <vector>

namespace neuralcodec {
namespace {

constexpr std::align_val_t alignment{64};

// Blocks that wait to be used again: few, and of a bounded size together.
struct Free {
    struct Block {
        size_t size;
        void* data;
    };
    static constexpr size_t least = size_t(32) << 10, most_blocks = 32, most_bytes = size_t(96) << 20;
    std::vector<Block> blocks;
    size_t bytes = 0;
};

Free& free_blocks() {
    static Free* found = new Free;  // never destroyed: arrays may outlive what is destroyed at exit
    return *found;
}

}  // namespace

void* take(size_t& size) {
    Free& free = free_blocks();
    if (size >= Free::least) {
        auto best = free.blocks.end();
        for (auto block = free.blocks.begin(); block != free.blocks.end(); block++)
            if (block->size >= size && block->size / 2 <= size && (best == free.blocks.end() || block->size <= best->size))
                best = block;
        if (best != free.blocks.end()) {
            void* const found = best->data;
            size = best->size;
            free.bytes -= size;
            free.blocks.erase(best);
            return found;
        }
    }
    return ::operator new(size, alignment);
}

void give_back(void* memory, size_t size) {
    Free& free = free_blocks();
    if (size < Free::least || size > Free::most_bytes / 4) {
        ::operator delete(memory, alignment);
        return;
    }
    while (free.blocks.size() == Free::most_blocks || free.bytes + size > Free::most_bytes) {  // the oldest goes
        ::operator delete(free.blocks.front().data, alignment);
        free.bytes -= free.blocks.front().size;
        free.blocks.erase(free.blocks.begin());
    }
    free.blocks.push_back({size, memory});
    free.bytes += size;
}

}  // namespace neuralcodec

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace flyball {

// Divides segments of memory into blocks. A request takes the smallest free block that holds it,
// the lowest of equals, and leaves the rest free; what comes back becomes one block with the free
// ones on either side of it, within its segment. So memory serves tensors of any size one after the
// other: a network's activations differ from stage to stage. Keeps addresses only and never touches
// the memory.
class Heap {
 public:
  static constexpr int64_t kGrain = 256;  // bytes; block sizes are multiples
  static int64_t block_bytes(int64_t bytes) {
    return bytes <= kGrain ? kGrain : (bytes + kGrain - 1) / kGrain * kGrain;
  }

  void add_segment(std::byte* data, int64_t bytes);  // a multiple of kGrain
  std::byte* take(int64_t bytes);      // a multiple of kGrain; null: no free block holds it
  int64_t give_back(std::byte* data);  // the block's bytes
  std::vector<std::byte*> remove_free_segments();  // of which no block is taken

  int64_t bytes() const { return bytes_; }  // of all segments
  int64_t free_bytes() const { return free_bytes_; }

 private:
  struct Block {
    int64_t bytes = 0;
    bool is_free = false, begins_segment = false;
  };
  using Blocks = std::map<std::byte*, Block>;

  void join_with_next(Blocks::iterator block);

  Blocks blocks_;                                  // by address
  std::set<std::pair<int64_t, std::byte*>> free_;  // by size, then address
  int64_t bytes_ = 0, free_bytes_ = 0;
};

}  // namespace flyball

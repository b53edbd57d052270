#include "framework/heap.h"

#include <iterator>

namespace flyball {

void Heap::add_segment(std::byte* data, int64_t bytes) {
  blocks_[data] = {.bytes = bytes, .is_free = true, .begins_segment = true};
  free_.insert({bytes, data});
  bytes_ += bytes;
  free_bytes_ += bytes;
}

std::byte* Heap::take(int64_t bytes) {
  const auto found = free_.lower_bound({bytes, nullptr});
  if (found == free_.end()) return nullptr;
  const auto [size, data] = *found;
  free_.erase(found);
  Block& block = blocks_.at(data);
  block.is_free = false;
  block.bytes = bytes;
  if (size > bytes) {
    blocks_[data + bytes] = {.bytes = size - bytes, .is_free = true};
    free_.insert({size - bytes, data + bytes});
  }
  free_bytes_ -= bytes;
  return data;
}

int64_t Heap::give_back(std::byte* data) {
  auto block = blocks_.find(data);
  const int64_t bytes = block->second.bytes;
  free_bytes_ += bytes;
  block->second.is_free = true;
  join_with_next(block);
  if (!block->second.begins_segment && std::prev(block)->second.is_free) {
    block = std::prev(block);
    free_.erase({block->second.bytes, block->first});
    join_with_next(block);
  }
  free_.insert({block->second.bytes, block->first});
  return bytes;
}

// Of a block that is in free_ no more or not yet; leaves the next one as it is where it is taken.
void Heap::join_with_next(Blocks::iterator block) {
  const auto next = std::next(block);
  if (next == blocks_.end() || next->second.begins_segment || !next->second.is_free) return;
  free_.erase({next->second.bytes, next->first});
  block->second.bytes += next->second.bytes;
  blocks_.erase(next);
}

std::vector<std::byte*> Heap::remove_free_segments() {
  std::vector<std::byte*> removed;
  for (auto block = blocks_.begin(); block != blocks_.end();) {
    const auto next = std::next(block);
    const auto& [data, about] = *block;
    if (about.begins_segment && about.is_free &&
        (next == blocks_.end() || next->second.begins_segment)) {
      removed.push_back(data);
      free_.erase({about.bytes, data});
      bytes_ -= about.bytes;
      free_bytes_ -= about.bytes;
      blocks_.erase(block);
    }
    block = next;
  }
  return removed;
}

}  // namespace flyball

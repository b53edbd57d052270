#include "framework/heap.h"

#include <algorithm>
#include <map>

#include "kernels/philox.h"
#include "tests/testing.h"

using namespace flyball;

namespace {

constexpr int64_t kGrain = Heap::kGrain;

// Addresses that nothing is at: a heap only counts with them.
std::byte* at(int64_t grains) { return reinterpret_cast<std::byte*>((1 + grains) * kGrain); }

Heap heap_of(int64_t grains) {
  Heap heap;
  heap.add_segment(at(0), grains * kGrain);
  return heap;
}

}  // namespace

TEST_CASE("heap: a request takes the smallest free block that holds it, the lowest of equals") {
  Heap heap = heap_of(20);
  for (const int64_t grains : {4, 1, 2, 1, 2, 1, 9}) CHECK(heap.take(grains * kGrain) != nullptr);
  CHECK(heap.free_bytes() == 0);
  CHECK(heap.take(kGrain) == nullptr);
  CHECK(heap.give_back(at(0)) == 4 * kGrain);
  CHECK(heap.give_back(at(8)) == 2 * kGrain);
  CHECK(heap.give_back(at(5)) == 2 * kGrain);
  CHECK(heap.free_bytes() == 8 * kGrain);
  CHECK(heap.take(5 * kGrain) == nullptr);
  CHECK(heap.take(2 * kGrain) == at(5));
  CHECK(heap.take(1 * kGrain) == at(8));  // and leaves the rest
  CHECK(heap.take(1 * kGrain) == at(9));
  CHECK(heap.take(3 * kGrain) == at(0));
}

TEST_CASE("heap: free neighbours are one block, in whatever order they came back") {
  std::vector<int> order{0, 1, 2, 3};
  do {
    Heap heap = heap_of(8);
    for (int i = 0; i < 4; ++i) CHECK(heap.take(2 * kGrain) == at(2 * i));
    for (const int i : order) heap.give_back(at(2 * i));
    CHECK(heap.take(8 * kGrain) == at(0));
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("heap: segments that lie side by side stay apart, and free ones can be removed") {
  Heap heap;
  heap.add_segment(at(4), 4 * kGrain);
  heap.add_segment(at(0), 4 * kGrain);
  CHECK(heap.take(5 * kGrain) == nullptr);
  CHECK(heap.take(kGrain) == at(0));
  CHECK(heap.take(kGrain) == at(1));
  CHECK(heap.take(4 * kGrain) == at(4));
  heap.give_back(at(0));
  CHECK(heap.remove_free_segments().empty());
  CHECK(heap.take(kGrain) == at(0));
  heap.give_back(at(1));
  heap.give_back(at(4));
  CHECK(heap.remove_free_segments() == std::vector<std::byte*>{at(4)});
  CHECK(heap.bytes() == 4 * kGrain);
  CHECK(heap.free_bytes() == 3 * kGrain);
  CHECK(heap.take(4 * kGrain) == nullptr);
  heap.give_back(at(0));
  CHECK(heap.remove_free_segments() == std::vector<std::byte*>{at(0)});
  CHECK(heap.bytes() == 0);
  CHECK(heap.take(kGrain) == nullptr);
}

TEST_CASE("heap: blocks never overlap, and nothing is lost, whatever comes and goes") {
  constexpr int64_t kGrains = 64;
  Heap heap = heap_of(kGrains);
  heap.add_segment(at(kGrains), kGrains * kGrain);
  std::map<std::byte*, int64_t> taken;
  int64_t taken_bytes = 0, refused = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    const PhiloxWords words = philox_at(i, 0, 0, 5);
    if (words.word[0] % 2 == 0 || taken.empty()) {
      const int64_t bytes = kGrain * (1 + words.word[1] % 12);
      std::byte* data = heap.take(bytes);
      if (data == nullptr) {
        ++refused;
        continue;
      }
      const auto next = taken.lower_bound(data);
      if (next != taken.end()) REQUIRE(data + bytes <= next->first);
      if (next != taken.begin()) {
        REQUIRE(std::prev(next)->first + std::prev(next)->second <= data);
      }
      const bool in_first = data >= at(0) && data + bytes <= at(kGrains);
      const bool in_second = data >= at(kGrains) && data + bytes <= at(2 * kGrains);
      REQUIRE((in_first || in_second));
      taken[data] = bytes;
      taken_bytes += bytes;
    } else {
      const auto block = std::next(taken.begin(), words.word[1] % taken.size());
      REQUIRE(heap.give_back(block->first) == block->second);
      taken_bytes -= block->second;
      taken.erase(block);
    }
    REQUIRE(heap.free_bytes() == heap.bytes() - taken_bytes);
  }
  CHECK(refused > 100);  // it was full now and then
  for (const auto& [data, bytes] : taken) heap.give_back(data);
  CHECK(heap.take(kGrains * kGrain) == at(0));
  CHECK(heap.take(kGrains * kGrain) == at(kGrains));
}

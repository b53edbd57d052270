#include "framework/allocator.h"

#include <algorithm>
#include <compare>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "framework/device_runtime.h"
#include "framework/heap.h"
#include "kernels/error.h"

namespace flyball {
namespace {

#ifdef NDEBUG
constexpr bool kFillFreed = false;
#else
constexpr bool kFillFreed = true;
#endif

// Small blocks have heaps of their own, so that those that live long do not cut up the large ones.
constexpr int64_t kSmall = 256 * 1024;
constexpr int64_t kMiB = 1 << 20;

class CachingAllocator : public Allocator {
 public:
  explicit CachingAllocator(Device device) : device_(device), runtime_(device_runtime(device)) {}

  void* allocate(int64_t bytes, void* stream) override {
    const std::lock_guard lock(mutex_);
    const auto in_use = pool_in_use_.find(stream);
    const int64_t pool = in_use == pool_in_use_.end() ? 0 : in_use->second;
    void* data = allocator_is_passthrough() ? from_system(bytes, bytes)
                                            : from_heap(key_of(pool, stream, bytes), bytes);
    if (pool != 0) pool_of_[data] = pool;
    if (kFillFreed) runtime_.fill_bytes(data, 0xFF, bytes, stream);
    ++counters_.requests;
    counters_.live_bytes += bytes;
    counters_.peak_live_bytes = std::max(counters_.peak_live_bytes, counters_.live_bytes);
    return data;
  }

  void free(void* data, int64_t bytes, void* stream) override {
    const std::lock_guard lock(mutex_);
    counters_.live_bytes -= bytes;
    int64_t pool = 0;
    if (const auto found = pool_of_.find(data); found != pool_of_.end()) {
      pool = found->second;
      pool_of_.erase(found);
    }
    const auto users = other_users_.extract(data);
    const bool outlived_pool = pool != 0 && !pools_.contains(pool);
    // The system waits for the device before it takes memory back.
    if (allocator_is_passthrough() && (pool == 0 || outlived_pool)) return runtime_.free(data);
    const Block block{key_of(pool, stream, bytes), data};
    if (outlived_pool) {
      give_back(block);
      return release([&](const Key& key) { return key.pool == pool; });
    }
    if (kFillFreed) runtime_.fill_bytes(data, 0xFF, bytes, stream);
    if (allocator_is_passthrough()) {
      exact_blocks_[pool].push_back(data);
    } else if (users.empty()) {
      give_back(block);
    } else {
      pending_.push_back({block, events_of(users.mapped())});
    }
  }

  void record_use(void* data, void* stream) override {
    const std::lock_guard lock(mutex_);
    other_users_[data].insert(stream);
  }

  void release_cached() override {
    const std::lock_guard lock(mutex_);
    release([](const Key& key) { return key.pool == 0; });
  }

  void forget_stream(void* stream) override {
    const std::lock_guard lock(mutex_);
    pool_in_use_.erase(stream);
    for (auto& [data, users] : other_users_) users.erase(stream);
    release([&](const Key& key) { return key.pool == 0 && key.stream == stream; });
  }

  AllocatorCounters counters() const override {
    const std::lock_guard lock(mutex_);
    AllocatorCounters counters = counters_;
    for (const auto& [key, heap] : heaps_) counters.cached_bytes += heap.free_bytes();
    return counters;
  }

  int64_t create_pool() override {
    const std::lock_guard lock(mutex_);
    pools_.insert(++pools_created_);
    return pools_created_;
  }

  void destroy_pool(int64_t pool) override {
    const std::lock_guard lock(mutex_);
    release([&](const Key& key) { return key.pool == pool; });
    for (void* data : exact_blocks_[pool]) runtime_.free(data);
    exact_blocks_.erase(pool);
    pools_.erase(pool);
  }

  void use_pool(void* stream, int64_t pool) override {
    const std::lock_guard lock(mutex_);
    if (pool == 0) {
      pool_in_use_.erase(stream);
    } else {
      pool_in_use_[stream] = pool;
    }
  }

 private:
  struct Key {
    int64_t pool = 0;
    void* stream = nullptr;
    bool small = false;
    auto operator<=>(const Key&) const = default;
  };
  struct Block {
    Key key;
    void* data;
  };
  // A freed block and the points that other streams have to pass before it is used again.
  struct Pending {
    Block block;
    std::vector<void*> events;
  };

  // What the streams have to pass. None after a fault on the device: nothing runs there any more.
  std::vector<void*> events_of(const std::unordered_set<void*>& streams) {
    std::vector<void*> events;
    try {
      for (void* stream : streams) {
        events.push_back(runtime_.create_event());
        runtime_.record(events.back(), stream);
      }
    } catch (const Error&) {
    }
    return events;
  }

  static Key key_of(int64_t pool, void* stream, int64_t bytes) {
    return {pool, stream, bytes <= kSmall};
  }

  void give_back(const Block& block) {
    heaps_.at(block.key).give_back(static_cast<std::byte*>(block.data));
  }

  void* from_heap(const Key& key, int64_t requested) {
    collect_pending();
    const int64_t bytes = Heap::block_bytes(requested);
    if (void* data = heaps_[key].take(bytes)) return data;
    int64_t segment = segment_bytes(key, heaps_[key], bytes);
    void* data = runtime_.allocate(segment);
    if (data == nullptr) {
      segment = bytes;
      data = from_system(segment, requested);
    } else {
      ++counters_.system_allocations;
    }
    Heap& heap = heaps_[key];
    heap.add_segment(static_cast<std::byte*>(data), segment);
    return heap.take(bytes);
  }

  // More than what is asked for, so that what comes later finds room beside it.
  int64_t segment_bytes(const Key& key, const Heap& heap, int64_t bytes) const {
    if (key.small) return 2 * kMiB;
    const int64_t spare =
        runtime_.untouched_memory_is_free() ? std::max(heap.bytes(), 64 * kMiB) : heap.bytes() / 4;
    return (std::max(bytes, spare) + 2 * kMiB - 1) / (2 * kMiB) * (2 * kMiB);
  }

  void collect_pending() {
    std::erase_if(pending_, [&](Pending& pending) {
      const auto done = [&](void* event) { return runtime_.ready(event); };
      if (!std::all_of(pending.events.begin(), pending.events.end(), done)) return false;
      for (void* event : pending.events) runtime_.destroy_event(event);
      give_back(pending.block);
      return true;
    });
  }

  void* from_system(int64_t bytes, int64_t requested) {
    ++counters_.system_allocations;
    void* data = runtime_.allocate(bytes);
    if (data != nullptr) return data;
    int64_t cached = 0;
    for (const auto& [key, heap] : heaps_) cached += heap.free_bytes();
    release([](const Key& key) { return key.pool == 0; });
    data = runtime_.allocate(bytes);
    if (data != nullptr) return data;
    --counters_.system_allocations;
    throw Error(str("allocator: out of memory on ", device_.str(), ": requested ", requested,
                    " bytes, free ", runtime_.free_bytes(), ", cached ", cached,
                    " (given back, not enough), live ", counters_.live_bytes));
  }

  void wait_for(void* event) {
    try {
      runtime_.synchronize_event(event);
    } catch (const Error&) {  // a fault: see events_of()
    }
  }

  template <class Chosen>
  void release(Chosen chosen) {
    for (const Pending& pending : pending_) {
      for (void* event : pending.events) {
        wait_for(event);
        runtime_.destroy_event(event);
      }
      give_back(pending.block);
    }
    pending_.clear();
    for (auto& [key, heap] : heaps_) {
      if (!chosen(key)) continue;
      for (std::byte* segment : heap.remove_free_segments()) runtime_.free(segment);
    }
    std::erase_if(heaps_, [](const auto& entry) { return entry.second.bytes() == 0; });
  }

  Device device_;
  DeviceRuntime& runtime_;
  mutable std::mutex mutex_;
  std::map<Key, Heap> heaps_;
  std::vector<Pending> pending_;
  std::unordered_map<void*, std::unordered_set<void*>> other_users_;  // streams, by block
  std::unordered_map<int64_t, std::vector<void*>> exact_blocks_;  // passed through, kept by pool
  std::unordered_map<void*, int64_t> pool_of_;                    // live blocks of pools
  std::unordered_map<void*, int64_t> pool_in_use_;                // by stream
  std::unordered_set<int64_t> pools_;
  int64_t pools_created_ = 0;
  AllocatorCounters counters_;
};

}  // namespace

bool allocator_is_passthrough() {
  static const bool passthrough = [] {
    const char* mode = std::getenv("FLYBALL_ALLOCATOR");
    if (mode == nullptr || std::strcmp(mode, "caching") == 0) return false;
    if (std::strcmp(mode, "passthrough") == 0) return true;
    throw Error(str("FLYBALL_ALLOCATOR is '", mode, "', expected caching or passthrough"));
  }();
  return passthrough;
}

// Never destroyed: tensors in static storage may outlive any order of destruction.
Allocator& allocator(Device device) {
  static auto* allocators = new std::map<std::pair<int, int>, CachingAllocator>;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  return allocators->try_emplace({static_cast<int>(device.kind), device.index}, device)
      .first->second;
}

MemoryPool::MemoryPool(const Stream& stream)
    : stream_(stream), id_(allocator(stream.device()).create_pool()) {}
MemoryPool::~MemoryPool() { allocator(stream_.device()).destroy_pool(id_); }
void MemoryPool::begin_use() const { allocator(stream_.device()).use_pool(stream_.handle(), id_); }
void MemoryPool::end_use() const { allocator(stream_.device()).use_pool(stream_.handle(), 0); }

}  // namespace flyball

#include "framework/allocator.h"

#include <algorithm>
#include <bit>
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
#include "kernels/error.h"

namespace flyball {
namespace {

#ifdef NDEBUG
constexpr bool kFillFreed = false;
#else
constexpr bool kFillFreed = true;
#endif

// Four classes per power of two: at most a quarter of a block is wasted.
int64_t size_class(int64_t bytes) {
  if (bytes <= 256) return 256;
  const int64_t step = int64_t{1} << (std::bit_width(static_cast<uint64_t>(bytes - 1)) - 3);
  return (bytes + step - 1) / step * step;
}

// Where no block of a large request's own size is free, one of up to this many times the size will
// do: batches of texts come in several lengths, and would else keep blocks for each.
constexpr int64_t kLargestExcess = 4;
constexpr int64_t kLarge = 64 * 1024;

int64_t block_size(int64_t bytes) { return allocator_is_passthrough() ? bytes : size_class(bytes); }

class CachingAllocator : public Allocator {
 public:
  explicit CachingAllocator(Device device) : device_(device), runtime_(device_runtime(device)) {}

  void* allocate(int64_t bytes, void* stream) override {
    const int64_t size = block_size(bytes);
    const std::lock_guard lock(mutex_);
    const auto in_use = pool_in_use_.find(stream);
    const int64_t pool = in_use == pool_in_use_.end() ? 0 : in_use->second;
    void* data = take_cached({pool, stream, size});
    if (data == nullptr) data = from_system(size, bytes);
    if (pool != 0) pool_of_[data] = pool;
    if (kFillFreed) runtime_.fill_bytes(data, 0xFF, size, stream);
    counters_.live_bytes += bytes;
    counters_.peak_live_bytes = std::max(counters_.peak_live_bytes, counters_.live_bytes);
    return data;
  }

  void free(void* data, int64_t bytes, void* stream) override {
    const std::lock_guard lock(mutex_);
    const int64_t size = size_of(data, bytes);
    counters_.live_bytes -= bytes;
    int64_t pool = 0;
    if (const auto found = pool_of_.find(data); found != pool_of_.end()) {
      pool = found->second;
      pool_of_.erase(found);
    }
    // The system waits for the device before it takes a block back.
    if (pool == 0 ? allocator_is_passthrough() : !pools_.contains(pool)) {
      other_users_.erase(data);
      return runtime_.free(data);
    }
    if (kFillFreed) runtime_.fill_bytes(data, 0xFF, size, stream);
    counters_.cached_bytes += size;
    const Block block{{pool, stream, size}, data};
    const auto users = other_users_.find(data);
    if (users == other_users_.end()) return keep(block);
    pending_.push_back({block, events_of(users->second)});
    other_users_.erase(users);
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
    return counters_;
  }

  int64_t create_pool() override {
    const std::lock_guard lock(mutex_);
    pools_.insert(++pools_created_);
    return pools_created_;
  }

  void destroy_pool(int64_t pool) override {
    const std::lock_guard lock(mutex_);
    release([&](const Key& key) { return key.pool == pool; });
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
    int64_t size = 0;
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

  void keep(const Block& block) { cached_[block.key].push_back(block.data); }

  // Of a block that was handed out for `bytes`, and is now coming back.
  int64_t size_of(void* data, int64_t bytes) {
    const auto found = larger_.find(data);
    if (found == larger_.end()) return block_size(bytes);
    const int64_t size = found->second;
    larger_.erase(found);
    return size;
  }

  // A pool of exact sizes reuses nothing: a graph's tensors stay apart, for the bounds checker.
  void* take_cached(const Key& key) {
    if (allocator_is_passthrough()) return nullptr;
    collect_pending();
    const int64_t largest = key.size < kLarge ? key.size : kLargestExcess * key.size;
    for (auto entry = cached_.lower_bound(key); entry != cached_.end(); ++entry) {
      const auto& [found, blocks] = *entry;
      if (found.pool != key.pool || found.stream != key.stream || found.size > largest) break;
      if (blocks.empty()) continue;
      void* data = blocks.back();
      entry->second.pop_back();
      counters_.cached_bytes -= found.size;
      if (found.size != key.size) larger_[data] = found.size;
      return data;
    }
    return nullptr;
  }

  void collect_pending() {
    std::erase_if(pending_, [&](Pending& pending) {
      const auto done = [&](void* event) { return runtime_.ready(event); };
      if (!std::all_of(pending.events.begin(), pending.events.end(), done)) return false;
      for (void* event : pending.events) runtime_.destroy_event(event);
      keep(pending.block);
      return true;
    });
  }

  void* from_system(int64_t size, int64_t requested) {
    ++counters_.system_allocations;
    void* data = runtime_.allocate(size);
    if (data != nullptr) return data;
    const int64_t cached = counters_.cached_bytes;
    release([](const Key& key) { return key.pool == 0; });
    data = runtime_.allocate(size);
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
      keep(pending.block);
    }
    pending_.clear();
    for (auto entry = cached_.begin(); entry != cached_.end();) {
      if (!chosen(entry->first)) {
        ++entry;
        continue;
      }
      for (void* data : entry->second) {
        runtime_.free(data);
        counters_.cached_bytes -= entry->first.size;
      }
      entry = cached_.erase(entry);
    }
  }

  Device device_;
  DeviceRuntime& runtime_;
  mutable std::mutex mutex_;
  std::map<Key, std::vector<void*>> cached_;
  std::vector<Pending> pending_;
  std::unordered_map<void*, std::unordered_set<void*>> other_users_;  // streams, by block
  std::unordered_map<void*, int64_t> larger_;       // live blocks of another size than their class
  std::unordered_map<void*, int64_t> pool_of_;      // live blocks of pools
  std::unordered_map<void*, int64_t> pool_in_use_;  // by stream
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

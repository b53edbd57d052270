#include "framework/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
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

class CachingAllocator : public Allocator {
 public:
  explicit CachingAllocator(Device device) : device_(device), runtime_(device_runtime(device)) {}

  void* allocate(int64_t bytes, void* stream) override {
    const bool passthrough = allocator_is_passthrough();
    const int64_t size = passthrough ? bytes : size_class(bytes);
    const std::lock_guard lock(mutex_);
    void* data = passthrough ? nullptr : take_cached(size, stream);
    if (data == nullptr) data = from_system(size, bytes);
    if (kFillFreed) runtime_.fill_bytes(data, 0xFF, size, stream);
    counters_.live_bytes += bytes;
    counters_.peak_live_bytes = std::max(counters_.peak_live_bytes, counters_.live_bytes);
    return data;
  }

  void free(void* data, int64_t bytes, void* stream) override {
    const std::lock_guard lock(mutex_);
    counters_.live_bytes -= bytes;
    if (allocator_is_passthrough()) return runtime_.free(data);
    const int64_t size = size_class(bytes);
    if (kFillFreed) runtime_.fill_bytes(data, 0xFF, size, stream);
    cached_[{stream, size}].push_back(data);
    counters_.cached_bytes += size;
  }

  void release_cached() override {
    const std::lock_guard lock(mutex_);
    release();
  }

  AllocatorCounters counters() const override {
    const std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  void* take_cached(int64_t size, void* stream) {
    std::vector<void*>& blocks = cached_[{stream, size}];
    if (blocks.empty()) return nullptr;
    void* data = blocks.back();
    blocks.pop_back();
    counters_.cached_bytes -= size;
    return data;
  }

  void* from_system(int64_t size, int64_t requested) {
    ++counters_.system_allocations;
    void* data = runtime_.allocate(size);
    if (data != nullptr) return data;
    release();
    data = runtime_.allocate(size);
    if (data != nullptr) return data;
    --counters_.system_allocations;
    throw Error(str("allocator: out of memory on ", device_.str(), ": requested ", requested,
                    " bytes, live ", counters_.live_bytes, ", cached ", counters_.cached_bytes));
  }

  void release() {
    for (auto& [key, blocks] : cached_) {
      for (void* block : blocks) runtime_.free(block);
    }
    cached_.clear();
    counters_.cached_bytes = 0;
  }

  Device device_;
  DeviceRuntime& runtime_;
  mutable std::mutex mutex_;
  std::map<std::pair<void*, int64_t>, std::vector<void*>> cached_;  // by stream and size class
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

}  // namespace flyball

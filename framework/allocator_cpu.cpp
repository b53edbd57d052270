#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "framework/allocator.h"
#include "kernels/error.h"

namespace flyball {
namespace {

constexpr int64_t kAlignment = 64;

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

class CpuAllocator : public Allocator {
 public:
  void* allocate(int64_t bytes, const Stream&) override {
    const bool passthrough = allocator_is_passthrough();
    const int64_t size = passthrough ? bytes : size_class(bytes);
    std::lock_guard lock(mutex_);
    void* data = nullptr;
    std::vector<void*>* blocks = passthrough ? nullptr : &cached_[size];
    if (blocks != nullptr && !blocks->empty()) {
      data = blocks->back();
      blocks->pop_back();
      counters_.cached_bytes -= size;
    } else {
      if (posix_memalign(&data, kAlignment, static_cast<size_t>(size)) != 0) {
        throw Error(str("allocator: out of memory on cpu: requested ", bytes, " bytes, live ",
                        counters_.live_bytes, ", cached ", counters_.cached_bytes));
      }
      ++counters_.system_allocations;
    }
    if (kFillFreed) std::memset(data, 0xFF, static_cast<size_t>(size));
    counters_.live_bytes += bytes;
    counters_.peak_live_bytes = std::max(counters_.peak_live_bytes, counters_.live_bytes);
    return data;
  }

  void free(void* data, int64_t bytes) override {
    std::lock_guard lock(mutex_);
    counters_.live_bytes -= bytes;
    if (allocator_is_passthrough()) return std::free(data);
    const int64_t size = size_class(bytes);
    if (kFillFreed) std::memset(data, 0xFF, static_cast<size_t>(size));
    cached_[size].push_back(data);
    counters_.cached_bytes += size;
  }

  void release_cached() override {
    std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : cached_) {
      for (void* block : blocks) std::free(block);
    }
    cached_.clear();
    counters_.cached_bytes = 0;
  }

  AllocatorCounters counters() const override {
    std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<int64_t, std::vector<void*>> cached_;
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
Allocator& allocator(Device) {
  static auto* cpu = new CpuAllocator;
  return *cpu;
}

}  // namespace flyball

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/simulated_gpu/simulator.h"

namespace flyball::simulated_gpu {

struct Allocation {
  uintptr_t begin = 0, end = 0;
  uint8_t* initialised = nullptr;  // a bit a byte; null: all bytes count as initialised
};

// The live allocations at the start of a launch, sorted.
struct MemorySnapshot {
  std::vector<Allocation> live;
  const Allocation* find(uintptr_t address) const;  // null if no allocation holds it
};

class TrackedMemory final : public DeviceMemory {
 public:
  explicit TrackedMemory(bool track_initialisation) : track_(track_initialisation) {}
  ~TrackedMemory() override;
  void* allocate(size_t bytes, std::string_view what) override;
  bool free(void* data) override;
  void adopt(void* data, size_t bytes, std::string_view what) override;
  bool disown(void* data) override;
  size_t size_of(const void* data) const override;
  void mark_initialised(const void* data, size_t bytes) override;
  bool contains(const void* data, size_t bytes) const override;

  std::shared_ptr<const MemorySnapshot> snapshot() const;
  bool tracks_initialisation() const { return track_; }
  // What lies at or near an address, for messages: "4 bytes past the end of 'weights' (1024 bytes
  // at 0x..)".
  std::string describe(uintptr_t address, size_t bytes) const;
  std::string name_at(uintptr_t address) const;  // "'weights'"

 private:
  struct Record {
    size_t bytes = 0;
    std::string what;
    bool owned = false;
    std::vector<uint8_t> initialised;
  };
  void release_old();

  const bool track_;
  mutable std::mutex mutex_;
  std::map<uintptr_t, Record> live_;
  std::vector<std::pair<uintptr_t, Record>> freed_;  // kept from reuse for a while, oldest first
  size_t freed_bytes_ = 0;
  mutable std::shared_ptr<const MemorySnapshot> snapshot_;
};

}  // namespace flyball::simulated_gpu

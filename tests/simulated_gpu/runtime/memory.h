#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/simulated_gpu/runtime/errors.h"
#include "tests/simulated_gpu/simulator.h"

struct CUmemPoolHandle_st {
  size_t release_threshold = 0, used = 0, used_high = 0, reserved_high = 0;
  std::map<int, int> switches;  // the reuse attributes, stored and returned only
};

namespace flyball::simulated_gpu::runtime {

enum class MemoryKind { kPageable, kDevice, kManaged, kPinned, kRegistered, kSymbol };

struct Block {
  uintptr_t begin = 0;
  size_t bytes = 0;
  MemoryKind kind = MemoryKind::kPageable;
  unsigned flags = 0;
  cudaMemPool_t pool = nullptr;
  std::string what;
  CallSite caller;
};

inline bool is_host(MemoryKind kind) {
  return kind == MemoryKind::kPageable || kind == MemoryKind::kPinned ||
         kind == MemoryKind::kRegistered;
}

// Every allocation the program holds, and the budget of the simulated device (SIMULATED_GPU_MEMORY,
// 8G unless given).
class Memory {
 public:
  static Memory& get();
  DeviceMemory& device() { return *device_; }

  // Throws Failure(cudaErrorMemoryAllocation) over budget. 0 bytes: null.
  void* allocate(size_t bytes, MemoryKind kind, const char* function, cudaMemPool_t pool = nullptr);
  void* allocate_pinned(size_t bytes, unsigned flags, const char* function);
  void register_host(void* data, size_t bytes, unsigned flags);
  void note_symbol(void* data, size_t bytes, const std::string& name);
  void release(const Block& block);  // of any kind
  void release_everything();

  const Block* find(const void* data) const;        // the block that holds this address
  const Block* find_start(const void* data) const;  // the block that starts at this address
  MemoryKind kind_of(const void* data) const;
  // Refuses an access that leaves the block it starts in, and device memory that was freed: reports
  // it and throws Failure(cudaErrorInvalidValue).
  void check_range(const void* data, size_t bytes, const char* role) const;
  std::string describe(uintptr_t begin,
                       size_t bytes) const;  // "bytes 0 to 1023 of 'cudaMalloc 3' (4096 bytes)"

  size_t total() const { return total_; }
  size_t used() const { return used_; }
  std::string leaks() const;  // a line a block that the program should have freed
  cudaMemPool_t default_pool() { return &default_pool_; }

 private:
  Memory();
  void* keep(void* data, size_t bytes, MemoryKind kind, unsigned flags, std::string what,
             cudaMemPool_t pool);

  std::unique_ptr<DeviceMemory> device_;
  std::map<uintptr_t, Block> blocks_;
  size_t total_, used_ = 0, count_ = 0;
  CUmemPoolHandle_st default_pool_;
};

}  // namespace flyball::simulated_gpu::runtime

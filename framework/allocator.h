#pragma once

#include <cstdint>

#include "framework/stream.h"

namespace flyball {

struct AllocatorCounters {
  int64_t live_bytes = 0;  // handed out and not returned, in requested bytes
  int64_t peak_live_bytes = 0;
  int64_t cached_bytes = 0;  // of the system's, and free
  int64_t requests = 0;
  int64_t system_allocations = 0;  // segments; passed through, requests
};

// Memory of one device. Caching: segments from the system are divided into blocks, a Heap for each
// stream; freed blocks are handed out again to the same stream, whose order makes that safe. So a
// training loop asks the system for nothing after its first step.
// With FLYBALL_ALLOCATOR=passthrough each request is its own system allocation of exactly the size
// asked for, so that a bounds checker sees every overrun. A block that other streams use too
// (record_use) is handed out again once their work up to its free is done. Pools serve captured
// graphs: see MemoryPool. Thread-safe. Debug builds fill fresh and freed blocks with 0xFF bytes,
// NaN in every float type.
class Allocator {
 public:
  virtual ~Allocator() = default;
  // 64-byte aligned. Throws Error when out of memory, after giving the cache back and trying again.
  virtual void* allocate(int64_t bytes, void* stream) = 0;
  virtual void free(void* data, int64_t bytes, void* stream) = 0;  // bytes and stream as requested
  virtual void record_use(void* data, void* stream) = 0;  // a stream beside the block's own
  virtual void release_cached() = 0;                      // gives cached blocks back to the system
  virtual void forget_stream(void* stream) = 0;           // its work is done and it is about to go
  virtual AllocatorCounters counters() const = 0;

  virtual int64_t create_pool() = 0;
  virtual void destroy_pool(int64_t pool) = 0;
  // From now on the stream's requests are served by this pool; 0: by the cache, as at first.
  virtual void use_pool(void* stream, int64_t pool) = 0;
};

// Memory that a captured graph refers to: blocks that are requested on a stream while the pool is
// in use come from the pool and return to it, for its next capture, and go back to the system when
// the pool goes. Graphs that share a pool run on one stream.
class MemoryPool {
 public:
  explicit MemoryPool(const Stream& stream);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;
  void begin_use() const;
  void end_use() const;

 private:
  const Stream& stream_;
  int64_t id_;
};

Allocator& allocator(Device device);
bool allocator_is_passthrough();

}  // namespace flyball

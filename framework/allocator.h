#pragma once

#include <cstdint>

#include "framework/stream.h"

namespace flyball {

struct AllocatorCounters {
  int64_t live_bytes = 0;  // handed out and not returned, in requested bytes
  int64_t peak_live_bytes = 0;
  int64_t cached_bytes = 0;        // returned and kept for reuse
  int64_t system_allocations = 0;  // requests that the cache could not serve
};

// Memory of one device. Caching: freed blocks are kept by stream and size class and handed out
// again to the same stream, whose order makes that safe; so a training loop asks the system for
// nothing after its first step. With FLYBALL_ALLOCATOR=passthrough each request is its own system
// allocation of exactly the size asked for, so that a bounds checker sees every overrun.
// Thread-safe. Debug builds fill fresh and freed blocks with 0xFF bytes, NaN in every float type.
class Allocator {
 public:
  virtual ~Allocator() = default;
  // 64-byte aligned. Throws Error when out of memory, after giving the cache back and trying again.
  virtual void* allocate(int64_t bytes, void* stream) = 0;
  virtual void free(void* data, int64_t bytes, void* stream) = 0;  // bytes and stream as requested
  virtual void release_cached() = 0;  // gives cached blocks back to the system
  virtual AllocatorCounters counters() const = 0;
};

Allocator& allocator(Device device);
bool allocator_is_passthrough();

}  // namespace flyball

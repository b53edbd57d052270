#include <algorithm>

#include "tests/simulated_gpu/runtime/memory.h"

namespace flyball::simulated_gpu::runtime {
namespace {

cudaMemPool_t& current_pool() {
  static cudaMemPool_t pool = Memory::get().default_pool();
  return pool;
}

// The 64-bit attributes; null for the reuse switches, which are ints.
size_t* counter(CUmemPoolHandle_st& pool, cudaMemPoolAttr attribute) {
  switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold:
      return &pool.release_threshold;
    case cudaMemPoolAttrReservedMemCurrent:
    case cudaMemPoolAttrUsedMemCurrent:
      return &pool.used;  // memory goes back at once: nothing is reserved beyond what is used
    case cudaMemPoolAttrReservedMemHigh:
      return &pool.reserved_high;
    case cudaMemPoolAttrUsedMemHigh:
      return &pool.used_high;
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  return call([&] {
    require(pool && properties && properties->location.type == cudaMemLocationTypeDevice &&
                properties->location.id == 0,
            cudaErrorInvalidValue);
    *pool = new CUmemPoolHandle_st;
  });
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  return call([&] {
    require(pool && pool != Memory::get().default_pool(), cudaErrorInvalidValue);
    require(pool->used == 0, cudaErrorNotSupported);
    if (current_pool() == pool) current_pool() = Memory::get().default_pool();
    delete pool;
  });
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t) {
  return call([&] { require(pool, cudaErrorInvalidValue); });
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return call([&] {
    require(pool && value, cudaErrorInvalidValue);
    if (size_t* number = counter(*pool, attribute)) {
      const auto given = *static_cast<const uint64_t*>(value);
      if (attribute == cudaMemPoolAttrReleaseThreshold) {
        *number = given;
      } else {  // a high-water mark may be reset
        require(given == 0 && (attribute == cudaMemPoolAttrReservedMemHigh ||
                               attribute == cudaMemPoolAttrUsedMemHigh),
                cudaErrorInvalidValue);
        *number = pool->used;
      }
    } else {
      pool->switches[attribute] = *static_cast<const int*>(value);
    }
  });
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return call([&] {
    require(pool && value, cudaErrorInvalidValue);
    if (const size_t* number = counter(*pool, attribute)) {
      *static_cast<uint64_t*>(value) = *number;
    } else {
      const auto found = pool->switches.find(attribute);
      *static_cast<int*>(value) = found == pool->switches.end() ? 1 : found->second;
    }
  });
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return call([&] {
    require(device == 0, cudaErrorInvalidDevice);
    *pool = Memory::get().default_pool();
  });
}
cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device) {
  return call([&] {
    require(device == 0, cudaErrorInvalidDevice);
    *pool = current_pool();
  });
}
cudaError_t cudaDeviceSetMemPool(int device, cudaMemPool_t pool) {
  return call([&] {
    require(device == 0, cudaErrorInvalidDevice);
    require(pool, cudaErrorInvalidValue);
    current_pool() = pool;
  });
}
cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t stream) {
  return cudaMallocFromPoolAsync(data, bytes, current_pool(), stream);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

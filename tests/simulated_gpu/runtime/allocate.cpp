#include <algorithm>

#include "tests/simulated_gpu/runtime/capture.h"
#include "tests/simulated_gpu/runtime/memory.h"
#include "tests/simulated_gpu/runtime/streams.h"

namespace flyball::simulated_gpu::runtime {
namespace {

const Block& block_at(const void* data, std::initializer_list<MemoryKind> kinds,
                      cudaError_t otherwise) {
  const Block* block = Memory::get().find_start(data);
  if (!block || std::find(kinds.begin(), kinds.end(), block->kind) == kinds.end()) {
    Errors::get().problem(
        "free of a pointer that is not the start of a live allocation of its kind, called from " +
        CallSite::here().describe());
    throw Failure{otherwise};
  }
  return *block;
}

// Memory that any work may still use: the runtime waits for the device before it lets go.
void release_after_everything(const Block& block) {
  Streams::get().host_after(Streams::get().everything(), true);
  Memory::get().release(block);
}

}  // namespace
}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaMalloc(void** data, size_t bytes) {
  return call([&] {
    require(data, cudaErrorInvalidValue);
    *data = nullptr;
    refuse_unsafe_call_in_capture();
    *data = Memory::get().allocate(bytes, MemoryKind::kDevice, "cudaMalloc");
  });
}
cudaError_t cudaMallocPitch(void** data, size_t* pitch, size_t width, size_t height) {
  *pitch = (width + 511) / 512 * 512;
  return cudaMalloc(data, *pitch * height);
}
cudaError_t cudaMallocManaged(void** data, size_t bytes, unsigned) {
  return call([&] {
    require(data && bytes > 0, cudaErrorInvalidValue);
    refuse_unsafe_call_in_capture();
    *data = Memory::get().allocate(bytes, MemoryKind::kManaged, "cudaMallocManaged");
  });
}
cudaError_t cudaFree(void* data) {
  return call([&] {
    if (!data) return;
    refuse_unsafe_call_in_capture();
    release_after_everything(
        block_at(data, {MemoryKind::kDevice, MemoryKind::kManaged}, cudaErrorInvalidValue));
  });
}

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned flags) {
  return call([&] {
    require(data, cudaErrorInvalidValue);
    *data = nullptr;
    refuse_unsafe_call_in_capture();
    *data = Memory::get().allocate_pinned(bytes, flags, "cudaHostAlloc");
  });
}
cudaError_t cudaMallocHost(void** data, size_t bytes) {
  return cudaHostAlloc(data, bytes, cudaHostAllocDefault);
}
cudaError_t cudaFreeHost(void* data) {
  return call([&] {
    if (!data) return;
    refuse_unsafe_call_in_capture();
    release_after_everything(block_at(data, {MemoryKind::kPinned}, cudaErrorInvalidValue));
  });
}
cudaError_t cudaHostRegister(void* data, size_t bytes, unsigned flags) {
  return call([&] {
    require(data && bytes > 0, cudaErrorInvalidValue);
    refuse_unsafe_call_in_capture();
    Memory::get().register_host(data, bytes, flags);
  });
}
cudaError_t cudaHostUnregister(void* data) {
  return call([&] {
    refuse_unsafe_call_in_capture();
    release_after_everything(
        block_at(data, {MemoryKind::kRegistered}, cudaErrorHostMemoryNotRegistered));
  });
}
// One address space: the device uses the host's address.
cudaError_t cudaHostGetDevicePointer(void** device, void* data, unsigned) {
  return call([&] {
    const Block* block = Memory::get().find(data);
    require(block && is_host(block->kind), cudaErrorInvalidValue);
    *device = data;
  });
}
cudaError_t cudaHostGetFlags(unsigned* flags, void* data) {
  return call([&] {
    const Block* block = Memory::get().find(data);
    require(block && is_host(block->kind), cudaErrorInvalidValue);
    *flags = block->flags | cudaHostAllocMapped;
  });
}

cudaError_t cudaMallocFromPoolAsync(void** data, size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream) {
  return call([&] {
    require(data && pool, cudaErrorInvalidValue);
    *data = nullptr;
    if (Streams::get().find(stream).capture) return not_covered("allocation nodes of a graph");
    *data = Memory::get().allocate(bytes, MemoryKind::kDevice, "cudaMallocAsync", pool);
    return cudaSuccess;
  });
}
// Counts as a write of the whole allocation: work of other streams that still uses it must be
// ordered before.
cudaError_t cudaFreeAsync(void* data, cudaStream_t handle) {
  return call([&] {
    if (!data) return cudaSuccess;
    CUstream_st& stream = Streams::get().find(handle);
    if (stream.capture) return not_covered("free nodes of a graph");
    const Block& block = block_at(data, {MemoryKind::kDevice}, cudaErrorInvalidValue);
    Clock clock = Streams::get().start_of(stream);
    const Stamp stamp = Ordering::get().next(stream.slot);
    Ordering::get().touch(
        block.begin, block.bytes, true, clock, stamp,
        std::make_shared<Site>(Site{"cudaFreeAsync", name_of(stream), CallSite::here()}));
    clock.set(stamp);
    stream.clock = clock;
    Memory::get().release(block);
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call([&] {
    if (total) *total = Memory::get().total();
    if (free) *free = Memory::get().total() - Memory::get().used();
  });
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data) {
  return call([&] {
    *attributes = {};
    const MemoryKind kind = Memory::get().kind_of(data);
    void* address = const_cast<void*>(data);
    if (kind == MemoryKind::kPageable) {
      attributes->type = cudaMemoryTypeUnregistered;
      attributes->device = cudaInvalidDeviceId;
      attributes->hostPointer = address;
      return;
    }
    attributes->type = is_host(kind)                  ? cudaMemoryTypeHost
                       : kind == MemoryKind::kManaged ? cudaMemoryTypeManaged
                                                      : cudaMemoryTypeDevice;
    attributes->devicePointer = address;
    attributes->hostPointer = attributes->type == cudaMemoryTypeDevice ? nullptr : address;
  });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

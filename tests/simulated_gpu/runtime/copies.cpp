#include "tests/simulated_gpu/runtime/capture.h"
#include "tests/simulated_gpu/runtime/memory.h"
#include "tests/simulated_gpu/runtime/streams.h"

namespace flyball::simulated_gpu::runtime {
namespace {

// Which copies the host waits for, as the runtime's "API synchronization behavior" has it: a
// synchronous call waits unless both sides are the device's; an asynchronous one only when it fills
// pageable memory. A pageable source is read before the call returns, but a synchronous copy from
// it may still be on its way to the device then: the host knows of earlier work only.
void copy(const CopyWork& work, cudaMemcpyKind kind, cudaStream_t stream, bool synchronous) {
  check(work, kind);
  if (work.width == 0 || work.height == 0) return;
  Streams& streams = Streams::get();
  const MemoryKind to = Memory::get().kind_of(work.to), from = Memory::get().kind_of(work.from);
  if (synchronous) {
    refuse_legacy_stream_in_capture();
    refuse_unsafe_call_in_capture();
  }
  const bool captured = streams.find(stream).capture != nullptr;
  if (synchronous && from == MemoryKind::kPageable && !is_host(to)) {
    streams.host_after(streams.start_of(streams.find(stream)), true);
    streams.submit(stream, work);
    return;
  }
  const bool waits = synchronous ? is_host(to) || is_host(from) : to == MemoryKind::kPageable;
  streams.submit(stream, work, waits && !captured);
}

void set(const SetWork& work, cudaStream_t stream, bool synchronous) {
  check(work);
  if (work.width == 0 || work.height == 0) return;
  // Synchronous only where the host itself could see it.
  Streams::get().submit(stream, work, synchronous && is_host(Memory::get().kind_of(work.to)));
}

CopyWork line(void* to, const void* from, size_t bytes) {
  return {to, bytes, from, bytes, bytes, 1};
}

CopyWork to_symbol(const void* symbol, const void* from, size_t bytes, size_t offset) {
  size_t size = 0;
  char* to = static_cast<char*>(find_symbol(symbol, &size)) + offset;
  require(offset <= size && bytes <= size - offset, cudaErrorInvalidValue);
  return line(to, from, bytes);
}
CopyWork from_symbol(void* to, const void* symbol, size_t bytes, size_t offset) {
  size_t size = 0;
  const char* from = static_cast<char*>(find_symbol(symbol, &size)) + offset;
  require(offset <= size && bytes <= size - offset, cudaErrorInvalidValue);
  return line(to, from, bytes);
}

}  // namespace
}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call([&] { copy(line(to, from, bytes), kind, nullptr, true); });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return call([&] { copy(line(to, from, bytes), kind, stream, false); });
}
cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                         size_t width, size_t height, cudaMemcpyKind kind) {
  return call([&] { copy({to, to_pitch, from, from_pitch, width, height}, kind, nullptr, true); });
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return call([&] { copy({to, to_pitch, from, from_pitch, width, height}, kind, stream, false); });
}
cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset,
                               cudaMemcpyKind kind) {
  return call([&] { copy(to_symbol(symbol, from, bytes, offset), kind, nullptr, true); });
}
cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, size_t bytes,
                                    size_t offset, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&] { copy(to_symbol(symbol, from, bytes, offset), kind, stream, false); });
}
cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t bytes, size_t offset,
                                 cudaMemcpyKind kind) {
  return call([&] { copy(from_symbol(to, symbol, bytes, offset), kind, nullptr, true); });
}
cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, size_t bytes, size_t offset,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&] { copy(from_symbol(to, symbol, bytes, offset), kind, stream, false); });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return call([&] { set({to, bytes, bytes, 1, static_cast<unsigned>(value), 1}, nullptr, true); });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return call([&] { set({to, bytes, bytes, 1, static_cast<unsigned>(value), 1}, stream, false); });
}
cudaError_t cudaMemset2D(void* to, size_t pitch, int value, size_t width, size_t height) {
  return call([&] {
    set({to, pitch, width, height, static_cast<unsigned>(value), 1}, nullptr, true);
  });
}
cudaError_t cudaMemset2DAsync(void* to, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t stream) {
  return call([&] {
    set({to, pitch, width, height, static_cast<unsigned>(value), 1}, stream, false);
  });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

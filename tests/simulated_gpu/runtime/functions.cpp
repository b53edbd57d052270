#include <algorithm>

#include "tests/simulated_gpu/runtime/device.h"

namespace flyball::simulated_gpu::runtime {

size_t dynamic_shared_limit(const Kernel& kernel) {
  const size_t fixed = kernel.info().static_shared_bytes;
  const size_t standard = kSharedPerBlock > fixed ? kSharedPerBlock - fixed : 0;
  return std::max(standard, kernel.dynamic_shared_limit);
}

int resident_blocks(const Kernel& kernel, unsigned threads, size_t dynamic_shared_bytes) {
  const KernelInfo& info = kernel.info();
  const size_t shared = info.static_shared_bytes + dynamic_shared_bytes;
  if (threads == 0 || threads > std::min(info.max_threads, kMaxThreadsPerBlock) ||
      shared > kSharedPerBlockOptIn)
    return 0;
  const unsigned warps = (threads + kWarp - 1) / kWarp;
  const int by_threads = kMaxThreadsPerProcessor / kWarp / static_cast<int>(warps);
  const int by_shared = static_cast<int>(kSharedPerProcessor / (shared + kSharedReserved));
  return std::min({by_threads, by_shared, kMaxBlocksPerProcessor});
}

}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return call([&] {
    Kernel& kernel = find_kernel(function);
    switch (attribute) {
      case cudaFuncAttributeMaxDynamicSharedMemorySize:
        require(value >= 0 && kernel.info().static_shared_bytes + static_cast<size_t>(value) <=
                                  kSharedPerBlockOptIn,
                cudaErrorInvalidValue);
        kernel.dynamic_shared_limit = static_cast<size_t>(value);
        return;
      case cudaFuncAttributePreferredSharedMemoryCarveout:
        require(value >= -1 && value <= 100, cudaErrorInvalidValue);
        kernel.carveout = value;
        return;
      default:  // clusters
        throw Failure{cudaErrorNotSupported};
    }
  });
}
// numRegs is 0: PTX does not tell.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return call([&] {
    const Kernel& kernel = find_kernel(function);
    const auto& info = kernel.info();
    *attributes = {};
    attributes->sharedSizeBytes = info.static_shared_bytes;
    attributes->localSizeBytes = info.local_bytes;
    attributes->maxThreadsPerBlock =
        static_cast<int>(std::min(info.max_threads, kMaxThreadsPerBlock));
    attributes->ptxVersion = attributes->binaryVersion = kMajor * 10 + kMinor;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(dynamic_shared_limit(kernel));
    attributes->preferredShmemCarveout = kernel.carveout;
  });
}
cudaError_t cudaFuncSetCacheConfig(const void* function, cudaFuncCache) {
  return call([&] { find_kernel(function); });
}
cudaError_t cudaFuncGetName(const char** name, const void* function) {
  return call([&] { *name = find_kernel(function).name.c_str(); });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks,
                                                                   const void* function,
                                                                   int threads, size_t shared_bytes,
                                                                   unsigned) {
  return call([&] {
    require(threads > 0, cudaErrorInvalidValue);
    *blocks = resident_blocks(find_kernel(function), static_cast<unsigned>(threads), shared_bytes);
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function,
                                                          int threads, size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads,
                                                                shared_bytes, 0);
}
cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t* shared_bytes, const void* function,
                                                      int blocks, int) {
  return call([&] {
    require(blocks > 0, cudaErrorInvalidValue);
    const size_t share = kSharedPerProcessor / static_cast<size_t>(blocks);
    const size_t taken = kSharedReserved + find_kernel(function).info().static_shared_bytes;
    *shared_bytes = share > taken ? std::min(share - taken, kSharedPerBlockOptIn) : 0;
  });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

#include "tests/simulated_gpu/runtime/device.h"

#include <cstdio>

#include "tests/simulated_gpu/runtime/capture.h"
#include "tests/simulated_gpu/runtime/memory.h"
#include "tests/simulated_gpu/runtime/streams.h"

namespace flyball::simulated_gpu::runtime {
namespace {

cudaDeviceProp properties() {
  cudaDeviceProp device = {};
  std::snprintf(device.name, sizeof device.name, "simulated GPU");
  device.totalGlobalMem = Memory::get().total();
  device.sharedMemPerBlock = kSharedPerBlock;
  device.sharedMemPerBlockOptin = kSharedPerBlockOptIn;
  device.sharedMemPerMultiprocessor = kSharedPerProcessor;
  device.reservedSharedMemPerBlock = kSharedReserved;
  device.regsPerBlock = device.regsPerMultiprocessor = kRegisters;
  device.warpSize = kWarp;
  device.memPitch = 0x7fffffff;
  device.maxThreadsPerBlock = kMaxThreadsPerBlock;
  device.maxThreadsPerMultiProcessor = kMaxThreadsPerProcessor;
  device.maxBlocksPerMultiProcessor = kMaxBlocksPerProcessor;
  device.maxThreadsDim[0] = static_cast<int>(kMaxBlock.x);
  device.maxThreadsDim[1] = static_cast<int>(kMaxBlock.y);
  device.maxThreadsDim[2] = static_cast<int>(kMaxBlock.z);
  device.maxGridSize[0] = static_cast<int>(kMaxGrid.x);
  device.maxGridSize[1] = static_cast<int>(kMaxGrid.y);
  device.maxGridSize[2] = static_cast<int>(kMaxGrid.z);
  device.totalConstMem = 64 << 10;
  device.major = kMajor;
  device.minor = kMinor;
  device.textureAlignment = device.surfaceAlignment = 512;
  device.multiProcessorCount = kProcessors;
  device.canMapHostMemory = device.unifiedAddressing = device.concurrentKernels = 1;
  device.streamPrioritiesSupported = device.managedMemory = device.cooperativeLaunch = 1;
  device.memoryPoolsSupported = device.hostRegisterSupported = 1;
  device.canUseHostPointerForRegisteredMem = device.concurrentManagedAccess = 1;
  device.asyncEngineCount = 2;
  device.l2CacheSize = 4 << 20;
  device.memoryBusWidth = 256;
  return device;
}

int attribute(cudaDeviceAttr which) {
  const cudaDeviceProp device = properties();
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
      return device.maxThreadsPerBlock;
    case cudaDevAttrMaxBlockDimX:
      return device.maxThreadsDim[0];
    case cudaDevAttrMaxBlockDimY:
      return device.maxThreadsDim[1];
    case cudaDevAttrMaxBlockDimZ:
      return device.maxThreadsDim[2];
    case cudaDevAttrMaxGridDimX:
      return device.maxGridSize[0];
    case cudaDevAttrMaxGridDimY:
      return device.maxGridSize[1];
    case cudaDevAttrMaxGridDimZ:
      return device.maxGridSize[2];
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return static_cast<int>(kSharedPerBlock);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return static_cast<int>(kSharedPerBlockOptIn);
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return static_cast<int>(kSharedPerProcessor);
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return static_cast<int>(kSharedReserved);
    case cudaDevAttrTotalConstantMemory:
      return static_cast<int>(device.totalConstMem);
    case cudaDevAttrWarpSize:
      return kWarp;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return kRegisters;
    case cudaDevAttrMultiProcessorCount:
      return kProcessors;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return kMaxThreadsPerProcessor;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return kMaxBlocksPerProcessor;
    case cudaDevAttrComputeCapabilityMajor:
      return kMajor;
    case cudaDevAttrComputeCapabilityMinor:
      return kMinor;
    case cudaDevAttrL2CacheSize:
      return device.l2CacheSize;
    case cudaDevAttrAsyncEngineCount:
      return device.asyncEngineCount;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
      return 1000000;  // kHz, of no meaning
    case cudaDevAttrGlobalMemoryBusWidth:
      return device.memoryBusWidth;
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
    case cudaDevAttrMemoryPoolsSupported:
      return 1;
    default:
      return 0;
  }
}

void check_device(int device) { require(device == 0, cudaErrorInvalidDevice); }

}  // namespace
}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return call([&] { *count = 1; });
}
cudaError_t cudaGetDevice(int* device) {
  return call([&] { *device = 0; });
}
cudaError_t cudaSetDevice(int device) {
  return call([&] { check_device(device); });
}
cudaError_t cudaInitDevice(int device, unsigned, unsigned) { return cudaSetDevice(device); }
cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return call([&] { *flags = cudaDeviceMapHost; });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* result, int device) {
  return call([&] {
    check_device(device);
    *result = properties();
  });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
  return call([&] {
    check_device(device);
    *value = attribute(which);
  });
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int capacity, int device) {
  return call([&] {
    check_device(device);
    std::snprintf(text, static_cast<size_t>(capacity), "0000:00:00.0");
  });
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  return call([&] { *can = 0; });
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  return call([&] { *version = CUDART_VERSION; });
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }
cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) {
  return call([] {});
}
cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit limit) {
  return call([&] { *value = limit == cudaLimitStackSize ? 1024 : size_t{1} << 20; });
}
cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) { return cudaSuccess; }
cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }

// There is no driver underneath.
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  return call([&] {
    *function = nullptr;
    if (result) *result = cudaDriverEntryPointSymbolNotFound;
  });
}
cudaError_t cudaGetDriverEntryPoint(const char* name, void** function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult* result) {
  return cudaGetDriverEntryPointByVersion(name, function, CUDART_VERSION, flags, result);
}

// Frees all memory and makes a lost device usable again; streams, events and graphs stay.
cudaError_t cudaDeviceReset() {
  const std::lock_guard lock(runtime_mutex());
  Errors::get().set_sticky(cudaSuccess);
  return call([] {
    refuse_device_wait_in_capture();
    Streams::get().host_after(Streams::get().everything(), true);
    Memory::get().release_everything();
  });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

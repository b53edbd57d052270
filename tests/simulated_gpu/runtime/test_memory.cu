#include "tests/simulated_gpu/runtime/test_runtime.h"

namespace flyball::simulated_gpu {
namespace {

__constant__ float scale[2];
__device__ int counters[4];

__global__ void scale_kernel(float* x, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = scale[0] * x[i] + scale[1];
}
__global__ void count_kernel() { atomicAdd(&counters[threadIdx.x % 4], 1); }

TEST_CASE("memory: copies go both ways, in lines and rows") {
  DeviceArray<float> x(1000);
  std::vector<float> from(1000), to(1000);
  for (int i = 0; i < 1000; ++i) from[i] = static_cast<float>(i);
  CHECK_CUDA(cudaMemcpy(x, from.data(), 4000, cudaMemcpyHostToDevice));
  CHECK_CUDA(cudaMemcpy(to.data(), x, 4000, cudaMemcpyDefault));
  CHECK(from == to);
  // Columns 2 and 3 of ten rows of ten.
  std::vector<float> columns(20);
  CHECK_CUDA(cudaMemcpy2D(columns.data(), 8, x.data + 2, 40, 8, 10, cudaMemcpyDeviceToHost));
  CHECK(columns[0] == 2);
  CHECK(columns[19] == 93);
  CHECK_CUDA(cudaMemset2D(x.data + 2, 40, 0, 8, 10));
  CHECK_CUDA(cudaMemcpy(to.data(), x, 4000, cudaMemcpyDeviceToHost));
  CHECK(to[92] == 0);
  CHECK(to[94] == 94);
  CHECK(take_problems() == "");
}

TEST_CASE("memory: fresh device memory is NaN") {
  DeviceArray<float> x(10);
  float value = 0;
  CHECK_CUDA(cudaMemcpy(&value, x.data + 9, 4, cudaMemcpyDeviceToHost));
  CHECK(value != value);
}

TEST_CASE("memory: symbols are written, used by a kernel and read") {
  const float factors[2] = {3, 1};
  CHECK_CUDA(cudaMemcpyToSymbol(scale, factors, sizeof factors));
  DeviceArray<float> x(5);
  const float ones[5] = {1, 1, 1, 1, 1};
  float result[5];
  CHECK_CUDA(cudaMemcpy(x, ones, sizeof ones, cudaMemcpyHostToDevice));
  scale_kernel<<<1, 32>>>(x, 5);
  CHECK_CUDA(cudaMemcpy(result, x, sizeof result, cudaMemcpyDeviceToHost));
  CHECK(result[4] == 4);
  size_t bytes = 0;
  void* address = nullptr;
  CHECK_CUDA(cudaGetSymbolSize(&bytes, counters));
  CHECK(bytes == 16);
  CHECK_CUDA(cudaGetSymbolAddress(&address, counters));
  CHECK_CUDA(cudaMemset(address, 0, bytes));
  count_kernel<<<2, 64>>>();
  int counts[2];
  CHECK_CUDA(cudaMemcpyFromSymbol(counts, counters, 8, 8));
  CHECK(counts[0] == 32);
  CHECK_ERROR(cudaMemcpyFromSymbol(counts, counters, 8, 12), cudaErrorInvalidValue);
  CHECK_ERROR(cudaGetSymbolSize(&bytes, &bytes), cudaErrorInvalidSymbol);
}

TEST_CASE("memory: pinned, mapped, registered and managed memory know what they are") {
  float *pinned = nullptr, *device = nullptr, *managed = nullptr;
  CHECK_CUDA(cudaHostAlloc(&pinned, 400, cudaHostAllocMapped));
  CHECK_CUDA(cudaHostGetDevicePointer(&device, pinned, 0));
  CHECK_CUDA(cudaMallocManaged(&managed, 400));
  cudaPointerAttributes attributes;
  CHECK_CUDA(cudaPointerGetAttributes(&attributes, pinned + 50));
  CHECK(attributes.type == cudaMemoryTypeHost);
  CHECK(attributes.devicePointer == pinned + 50);
  CHECK_CUDA(cudaPointerGetAttributes(&attributes, managed));
  CHECK(attributes.type == cudaMemoryTypeManaged);
  CHECK_CUDA(cudaPointerGetAttributes(&attributes, &attributes));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  for (int i = 0; i < 100; ++i) pinned[i] = managed[i] = 2;
  const float factors[2] = {2, 0};
  CHECK_CUDA(cudaMemcpyToSymbol(scale, factors, sizeof factors));
  scale_kernel<<<1, 128>>>(device, 100);
  scale_kernel<<<1, 128>>>(managed, 100);
  CHECK_CUDA(cudaDeviceSynchronize());
  CHECK(pinned[99] == 4);
  CHECK(managed[99] == 4);
  std::vector<float> own(100, 1);
  CHECK_CUDA(cudaHostRegister(own.data(), 400, cudaHostRegisterDefault));
  CHECK_ERROR(cudaHostRegister(own.data(), 400, 0), cudaErrorHostMemoryAlreadyRegistered);
  scale_kernel<<<1, 128>>>(own.data(), 100);
  CHECK_CUDA(cudaDeviceSynchronize());
  CHECK(own[99] == 2);
  CHECK_CUDA(cudaHostUnregister(own.data()));
  CHECK_CUDA(cudaFreeHost(pinned));
  CHECK_CUDA(cudaFree(managed));
  CHECK(take_problems() == "");
}

TEST_CASE("memory: pools allocate and free in stream order") {
  Stream stream;
  cudaMemPool_t pool = nullptr;
  CHECK_CUDA(cudaDeviceGetDefaultMemPool(&pool, 0));
  uint64_t threshold = 1 << 20, used = 0;
  CHECK_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  float* x = nullptr;
  CHECK_CUDA(cudaMallocAsync(&x, 4000, stream));
  CHECK_CUDA(cudaMemsetAsync(x, 0, 4000, stream));
  CHECK_CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  CHECK(used >= 4000);
  CHECK_CUDA(cudaFreeAsync(x, stream));
  CHECK_CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  CHECK(used == 0);
  CHECK_CUDA(cudaMemPoolTrimTo(pool, 0));
  cudaMemPoolProps properties = {};
  properties.location = {cudaMemLocationTypeDevice, 0};
  properties.allocType = cudaMemAllocationTypePinned;
  cudaMemPool_t own = nullptr;
  CHECK_CUDA(cudaMemPoolCreate(&own, &properties));
  CHECK_CUDA(cudaMallocFromPoolAsync(&x, 64, own, stream));
  CHECK_ERROR(cudaMemPoolDestroy(own), cudaErrorNotSupported);
  CHECK_CUDA(cudaFreeAsync(x, stream));
  CHECK_CUDA(cudaMemPoolDestroy(own));
  CHECK(take_problems() == "");
}

TEST_CASE("memory: freed with FreeAsync while another stream still writes is a race") {
  Stream a, b;
  float* x = nullptr;
  CHECK_CUDA(cudaMallocAsync(&x, 256, a));
  CHECK_CUDA(cudaStreamSynchronize(a));
  CHECK_CUDA(cudaMemsetAsync(x, 0, 256, b));
  CHECK_CUDA(cudaFreeAsync(x, a));
  CHECK(contains(take_problems(), "race between streams"));
}

TEST_CASE("memory: wrong copies and frees are refused and reported") {
  DeviceArray<float> x(10);
  float host[11] = {};
  CHECK_ERROR(cudaMemcpy(x, host, 44, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  CHECK(contains(take_problems(), "out of bounds"));
  CHECK_ERROR(cudaMemcpy(x, host, 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  CHECK(contains(take_problems(), "kind disagrees"));
  CHECK_ERROR(cudaMemset(x.data + 1, 0, 40), cudaErrorInvalidValue);
  CHECK(contains(take_problems(), "out of bounds"));
  CHECK_ERROR(cudaFree(x.data + 1), cudaErrorInvalidValue);
  CHECK(contains(take_problems(), "free of a pointer"));
  CHECK_CUDA(cudaFree(nullptr));
}

TEST_CASE("alone: out of memory" * doctest::skip()) {
  size_t free = 0, total = 0;
  CHECK_CUDA(cudaMemGetInfo(&free, &total));
  CHECK(total == 1 << 20);
  void *x = nullptr, *y = nullptr;
  CHECK_CUDA(cudaMalloc(&x, 1000 << 10));
  CHECK_ERROR(cudaMalloc(&y, 100 << 10), cudaErrorMemoryAllocation);
  CHECK(y == nullptr);
  CHECK_ERROR(cudaMalloc(&y, ~size_t{0}), cudaErrorMemoryAllocation);
  CHECK_CUDA(cudaMalloc(&y, 24 << 10));
  CHECK_CUDA(cudaFree(x));
  CHECK_CUDA(cudaMemGetInfo(&free, &total));
  CHECK(free == (1 << 20) - (24 << 10));
  CHECK_CUDA(cudaFree(y));
}
TEST_CASE("memory: the device's size is configurable and its end an error that leaves all usable") {
  const Outcome outcome = run_alone("alone: out of memory", "SIMULATED_GPU_MEMORY=1M");
  CHECK_MESSAGE(outcome.status == 0, outcome.output);
}

TEST_CASE("alone: leak" * doctest::skip()) {
  void* lost = nullptr;
  CHECK_CUDA(cudaMalloc(&lost, 100));
}
TEST_CASE("memory: leaks are listed at exit on request and fail the process") {
  const Outcome quiet = run_alone("alone: leak", "SIMULATED_GPU_LEAKS=0");
  CHECK(quiet.status == 0);
  const Outcome outcome = run_alone("alone: leak", "SIMULATED_GPU_LEAKS=1");
  CHECK(outcome.status == 86);
  CHECK(contains(outcome.output, "not freed at exit"));
  CHECK(contains(outcome.output, "(100 bytes"));
}

}  // namespace
}  // namespace flyball::simulated_gpu

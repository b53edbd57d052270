#undef NDEBUG  // the kernel's assert is under test
#include <cooperative_groups.h>

#include <cassert>
#include <fstream>
#include <sstream>

#include "tests/simulated_gpu/runtime/test_runtime.h"

namespace flyball::simulated_gpu {
namespace {

__global__ void write_kernel(float* x, int offset) { x[offset + threadIdx.x] = 1; }
__global__ void misaligned_kernel(char* x) { *reinterpret_cast<float*>(x + 1) = 1; }
__global__ void assert_kernel(int value) { assert(value == 0); }
__global__ void __launch_bounds__(64) bounded_kernel(float* x) { x[threadIdx.x] = 1; }
__global__ void shared_kernel(float* x) {
  extern __shared__ float tile[];
  __shared__ float fixed[256];
  tile[threadIdx.x] = x[threadIdx.x];
  fixed[threadIdx.x] = tile[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = fixed[255 - threadIdx.x];
}
// Every block adds up what all blocks wrote before the grid met.
__global__ void grid_kernel(int* parts, int* sums) {
  if (threadIdx.x == 0) parts[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  cooperative_groups::this_grid().sync();
  if (threadIdx.x == 0) {
    int sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += parts[i];
    sums[blockIdx.x] = sum;
  }
}

TEST_CASE("launch: wrong configurations give the runtime's errors") {
  DeviceArray<float> x(1024);
  const auto launched = [&](dim3 grid, dim3 block, size_t shared = 0) {
    write_kernel<<<grid, block, shared>>>(x, 0);
    return cudaGetLastError();
  };
  CHECK(launched(1, 32) == cudaSuccess);
  CHECK(launched(0, 32) == cudaErrorInvalidConfiguration);
  CHECK(launched(1, 0) == cudaErrorInvalidConfiguration);
  CHECK(launched(1, 1025) == cudaErrorInvalidConfiguration);
  CHECK(launched(1, dim3(1, 1, 65)) == cudaErrorInvalidConfiguration);
  CHECK(launched(dim3(1, 65536), 1) == cudaErrorInvalidConfiguration);
  CHECK(launched(1, 32, (48 << 10) + 1) == cudaErrorInvalidValue);
  bounded_kernel<<<1, 128>>>(x);
  CHECK(cudaGetLastError() != cudaSuccess);
  CHECK(cudaGetLastError() == cudaSuccess);
  int not_a_kernel = 0;
  void* arguments[] = {&not_a_kernel};
  CHECK_ERROR(cudaLaunchKernel(&not_a_kernel, dim3(1), dim3(1), arguments, 0, nullptr),
              cudaErrorInvalidDeviceFunction);
  cudaFuncAttributes attributes;
  CHECK_CUDA(cudaFuncGetAttributes(&attributes, bounded_kernel));
  CHECK(attributes.maxThreadsPerBlock == 64);
  CHECK(take_problems() == "");
}

TEST_CASE("launch: more than 48 KB of shared memory needs the attribute") {
  DeviceArray<float> x(256);
  std::vector<float> values(256);
  for (int i = 0; i < 256; ++i) values[i] = static_cast<float>(i);
  CHECK_CUDA(cudaMemcpy(x, values.data(), 1024, cudaMemcpyHostToDevice));
  const int bytes = 100 << 10, most = (163 << 10) - 1024;
  shared_kernel<<<1, 256, bytes>>>(x);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  const auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  CHECK_ERROR(cudaFuncSetAttribute(shared_kernel, attribute, most + 1), cudaErrorInvalidValue);
  CHECK_CUDA(cudaFuncSetAttribute(shared_kernel, attribute, most));
  shared_kernel<<<1, 256, bytes>>>(x);
  CHECK_CUDA(cudaGetLastError());
  CHECK_CUDA(cudaMemcpy(values.data(), x, 1024, cudaMemcpyDeviceToHost));
  CHECK(values[0] == 255);
  cudaFuncAttributes attributes;
  CHECK_CUDA(cudaFuncGetAttributes(&attributes, shared_kernel));
  CHECK(attributes.sharedSizeBytes == 1024);
  CHECK(attributes.maxDynamicSharedSizeBytes == most);
}

TEST_CASE("launch: occupancy follows from threads and shared memory") {
  int blocks = 0;
  CHECK_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, write_kernel, 256, 0));
  CHECK(blocks == 8);
  CHECK_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, write_kernel, 32, 0));
  CHECK(blocks == 32);
  CHECK_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, write_kernel, 256, 40 << 10));
  CHECK(blocks == 4);
  CHECK_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, write_kernel, 1025, 0));
  CHECK(blocks == 0);
  int grid = 0, block = 0;
  CHECK_CUDA(cudaOccupancyMaxPotentialBlockSize(&grid, &block, write_kernel));
  CHECK(grid * block == 4 * 2048);
}

TEST_CASE("launch: a cooperative grid meets, and one that does not fit is refused") {
  DeviceArray<int> parts(64), sums(64);
  int *first = parts, *second = sums;
  void* arguments[] = {&first, &second};
  const void* kernel = reinterpret_cast<const void*>(grid_kernel);
  CHECK_CUDA(cudaLaunchCooperativeKernel(kernel, dim3(16), dim3(64), arguments, 0, nullptr));
  int result[16];
  CHECK_CUDA(cudaMemcpy(result, sums, sizeof result, cudaMemcpyDeviceToHost));
  CHECK(result[0] == 136);
  CHECK(result[15] == 136);
  CHECK_ERROR(cudaLaunchCooperativeKernel(kernel, dim3(9), dim3(1024), arguments, 0, nullptr),
              cudaErrorCooperativeLaunchTooLarge);
  CHECK(take_problems() == "");
}

TEST_CASE("launch: extended launches take a stream and refuse clusters") {
  DeviceArray<float> x(32);
  Stream stream;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(1);
  config.blockDim = dim3(32);
  config.stream = stream;
  CHECK_CUDA(cudaLaunchKernelEx(&config, write_kernel, x.data, 0));
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {2, 1, 1};
  config.attrs = &cluster;
  config.numAttrs = 1;
  CHECK_ERROR(cudaLaunchKernelEx(&config, write_kernel, x.data, 0), cudaErrorInvalidClusterSize);
}

TEST_CASE("launch: a fault is reported with its place and sticks until the device is reset") {
  float* x = nullptr;
  CHECK_CUDA(cudaMalloc(&x, 128));
  write_kernel<<<1, 32>>>(x, 1);
  CHECK(cudaGetLastError() == cudaSuccess);  // the launch itself was fine
  const std::string problems = take_problems();
  CHECK(contains(problems, "write_kernel"));
  CHECK(contains(problems, "out of bounds"));
  CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  void* more = nullptr;
  CHECK(cudaMalloc(&more, 4) == cudaErrorIllegalAddress);
  CHECK_CUDA(cudaDeviceReset());
  cudaGetLastError();
  CHECK_CUDA(cudaMalloc(&x, 128));
  misaligned_kernel<<<1, 1>>>(reinterpret_cast<char*>(x));
  CHECK(cudaDeviceSynchronize() == cudaErrorMisalignedAddress);
  CHECK_CUDA(cudaDeviceReset());
  assert_kernel<<<1, 1>>>(1);
  CHECK(cudaDeviceSynchronize() == cudaErrorAssert);
  CHECK_CUDA(cudaDeviceReset());
  cudaGetLastError();
  take_problems();
}

TEST_CASE("alone: fault" * doctest::skip()) {
  DeviceArray<float> x(31);
  write_kernel<<<1, 32>>>(x, 0);
  CHECK(cudaGetLastError() ==
        (std::getenv("CUDA_LAUNCH_BLOCKING") ? cudaErrorIllegalAddress : cudaSuccess));
}
TEST_CASE("launch: a fault that nobody asks about fails the process") {
  const Outcome outcome = run_alone("alone: fault", "");
  CHECK(outcome.status == 86);
  CHECK(contains(outcome.output, "out of bounds"));
  CHECK(run_alone("alone: fault", "SIMULATED_GPU_ABORT=1").status != 86);
  CHECK(contains(run_alone("alone: fault", "CUDA_LAUNCH_BLOCKING=1").output, "1 passed"));
}

TEST_CASE("device: it is an 8.0 with four multiprocessors, and its only one") {
  cudaDeviceProp device;
  CHECK_CUDA(cudaGetDeviceProperties(&device, 0));
  CHECK(std::string(device.name) == "simulated GPU");
  int count = 0, value = 0;
  CHECK_CUDA(cudaGetDeviceCount(&count));
  CHECK(count == 1);
  CHECK_ERROR(cudaSetDevice(1), cudaErrorInvalidDevice);
  CHECK_ERROR(cudaSetDevice(-1), cudaErrorInvalidDevice);
  CHECK_CUDA(cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, 0));
  CHECK(value == 8);
  CHECK_CUDA(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
  CHECK(value == 4);
  CHECK_CUDA(cudaDeviceGetAttribute(&value, cudaDevAttrCooperativeLaunch, 0));
  CHECK(value == 1);
  CHECK_CUDA(cudaRuntimeGetVersion(&value));
  CHECK(value == CUDART_VERSION);
  CHECK(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
  void* entry = &value;
  cudaDriverEntryPointQueryResult result;
  CHECK_CUDA(cudaGetDriverEntryPointByVersion("cuInit", &entry, 12000, cudaEnableDefault, &result));
  CHECK(result == cudaDriverEntryPointSymbolNotFound);
  CHECK(entry == nullptr);
}

TEST_CASE("device: calls that are not covered stop with their name") {
  cudaArray_t array = nullptr;
  cudaChannelFormatDesc format = {32, 0, 0, 0, cudaChannelFormatKindFloat};
  CHECK_ERROR(cudaMallocArray(&array, &format, 4, 4), cudaErrorNotSupported);
  CHECK(contains(take_problems(), "not covered: cudaMallocArray"));
}

TEST_CASE("alone: report" * doctest::skip()) {
  DeviceArray<float> x(64);
  for (int i = 0; i < 3; ++i) write_kernel<<<2, 32>>>(x, 0);
  CHECK_CUDA(cudaDeviceSynchronize());
}
TEST_CASE("report: a table of kernels at exit, or a line of JSON each") {
  const auto report = [](const std::string& path) {
    const Outcome outcome = run_alone("alone: report", "SIMULATED_GPU_REPORT=" + path);
    CHECK_MESSAGE(outcome.status == 0, outcome.output);
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    std::remove(path.c_str());
    return text.str();
  };
  const std::string stem = "/tmp/simulated_gpu_report_" + std::to_string(getpid());
  const std::string table = report(stem + ".txt"), lines = report(stem + ".jsonl");
  CHECK(contains(table, "sectors/request"));
  CHECK(contains(table, "write_kernel"));
  CHECK(contains(lines, "write_kernel\", \"launches\": 3"));
  CHECK(contains(lines, "\"global_bytes_written\": 768"));
  CHECK(contains(lines, "\"host_synchronizations\": 2"));
}

}  // namespace
}  // namespace flyball::simulated_gpu

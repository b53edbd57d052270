#include <thread>

#include "tests/simulated_gpu/runtime/test_runtime.h"

namespace flyball::simulated_gpu {
namespace {

__global__ void fill_kernel(float* x, int n, float value) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = value;
}
__global__ void sum_kernel(const float* x, int n, float* sum) {
  if (threadIdx.x == 0) {
    float total = 0;
    for (int i = 0; i < n; ++i) total += x[i];
    *sum = total;
  }
}

TEST_CASE("streams: an event orders two streams") {
  DeviceArray<float> x(100), sum(1);
  Stream a, b;
  Event filled;
  fill_kernel<<<1, 128, 0, a>>>(x, 100, 2);
  CHECK_CUDA(cudaEventRecord(filled, a));
  CHECK_CUDA(cudaStreamWaitEvent(b, filled, 0));
  sum_kernel<<<1, 32, 0, b>>>(x, 100, sum);
  float result = 0;
  CHECK_CUDA(cudaMemcpyAsync(&result, sum, 4, cudaMemcpyDeviceToHost, b));
  CHECK(result == 200);
  CHECK(take_problems() == "");
}

TEST_CASE("streams: a missing event is a race, with both places") {
  DeviceArray<float> x(100), sum(1);
  Stream a, b;
  fill_kernel<<<1, 128, 0, a>>>(x, 100, 2);
  sum_kernel<<<1, 32, 0, b>>>(x, 100, sum);
  const std::string problems = take_problems();
  CHECK(contains(problems, "race between streams"));
  CHECK(contains(problems, "fill_kernel <<<(1,1,1), (128,1,1)>>> on stream"));
  CHECK(contains(problems, "sum_kernel <<<(1,1,1), (32,1,1)>>> on stream"));
}

TEST_CASE("streams: an event recorded before the work does not order it") {
  DeviceArray<float> x(100), sum(1);
  Stream a, b;
  Event early;
  CHECK_CUDA(cudaEventRecord(early, a));
  fill_kernel<<<1, 96, 0, a>>>(x, 96, 2);
  CHECK_CUDA(cudaStreamWaitEvent(b, early, 0));
  sum_kernel<<<1, 64, 0, b>>>(x, 96, sum);
  CHECK(contains(take_problems(), "race between streams"));
}

TEST_CASE("streams: two streams that write one buffer race, different bytes do not") {
  DeviceArray<float> x(100);
  Stream a, b;
  CHECK_CUDA(cudaMemsetAsync(x, 0, 200, a));
  CHECK_CUDA(cudaMemsetAsync(x.data + 50, 0, 200, b));
  CHECK(take_problems() == "");
  CHECK_CUDA(cudaMemsetAsync(x.data + 49, 0, 8, b));
  CHECK(contains(take_problems(), "bytes 196 to 199"));
}

TEST_CASE("streams: two readers do not race, a writer after one of them does") {
  DeviceArray<float> x(10), y(10), z(10);
  Stream a, b;
  CHECK_CUDA(cudaMemset(x, 0, 40));
  CHECK_CUDA(cudaDeviceSynchronize());
  CHECK_CUDA(cudaMemcpyAsync(y, x, 40, cudaMemcpyDeviceToDevice, a));
  CHECK_CUDA(cudaMemcpyAsync(z, x, 40, cudaMemcpyDeviceToDevice, b));
  CHECK(take_problems() == "");
  CHECK_CUDA(cudaMemsetAsync(x, 0, 40, a));
  CHECK(contains(take_problems(), "reads"));
}

TEST_CASE("streams: every kind of waiting orders the host's later work") {
  DeviceArray<float> x(64);
  Stream a, b;
  Event done;
  const auto write_on = [&](cudaStream_t stream) { fill_kernel<<<1, 64, 0, stream>>>(x, 64, 1); };
  write_on(a);
  CHECK_CUDA(cudaStreamSynchronize(a));
  write_on(b);
  CHECK_CUDA(cudaEventRecord(done, b));
  CHECK_CUDA(cudaEventSynchronize(done));
  write_on(a);
  CHECK_CUDA(cudaDeviceSynchronize());
  write_on(b);
  CHECK_CUDA(cudaStreamQuery(b));
  write_on(a);
  CHECK_CUDA(cudaEventRecord(done, a));
  CHECK_CUDA(cudaEventQuery(done));
  write_on(b);
  CHECK(take_problems() == "");
}

TEST_CASE(
    "streams: the legacy stream waits for blocking streams and they for it, not for non-blocking "
    "ones") {
  DeviceArray<float> x(32);
  Stream blocking(cudaStreamDefault), other(cudaStreamDefault), free;
  fill_kernel<<<1, 32, 0, blocking>>>(x, 32, 1);
  fill_kernel<<<1, 32>>>(x, 32, 2);
  fill_kernel<<<1, 32, 0, other>>>(x, 32, 3);
  CHECK(take_problems() == "");
  fill_kernel<<<1, 32, 0, free>>>(x, 32, 4);
  CHECK(contains(take_problems(), "race between streams"));
  CHECK_CUDA(cudaDeviceSynchronize());
  CHECK_CUDA(cudaMemsetAsync(x, 0, 128, free));
  CHECK_CUDA(cudaMemsetAsync(x, 0, 128, nullptr));
  CHECK(contains(take_problems(), "the legacy default stream"));
}

TEST_CASE("streams: the per-thread stream is one a thread") {
  DeviceArray<float> x(16);
  fill_kernel<<<1, 16, 0, cudaStreamPerThread>>>(x, 16, 1);
  fill_kernel<<<1, 16, 0, cudaStreamPerThread>>>(x, 16, 1);
  CHECK(take_problems() == "");
  std::thread([&] { fill_kernel<<<1, 16, 0, cudaStreamPerThread>>>(x, 16, 1); }).join();
  CHECK(contains(take_problems(), "race between streams"));
}

TEST_CASE(
    "streams: a blocking copy from pageable memory may still be on its way for other streams") {
  DeviceArray<float> x(4);
  Stream free;
  const float values[4] = {1, 2, 3, 4};
  CHECK_CUDA(cudaMemcpy(x, values, 16, cudaMemcpyHostToDevice));
  fill_kernel<<<1, 4, 0, free>>>(x, 4, 1);
  CHECK(contains(take_problems(), "race between streams"));
}

TEST_CASE("streams: the host may not read pinned memory that a copy still fills") {
  DeviceArray<float> x(2000);
  float* pinned = nullptr;
  CHECK_CUDA(cudaMallocHost(&pinned, 16000));
  Stream a;
  fill_kernel<<<8, 256, 0, a>>>(x, 2000, 5);
  CHECK_CUDA(cudaMemcpyAsync(pinned, x, 8000, cudaMemcpyDeviceToHost, a));
  pinned[2000] = 3;  // of the same page, not of the copy
  CHECK(pinned[3000] != pinned[3000]);
  CHECK(take_problems() == "");
  CHECK_CUDA(cudaMemcpyAsync(pinned, x, 8000, cudaMemcpyDeviceToHost, a));
  CHECK(pinned[1500] == 5);
  CHECK(contains(take_problems(), "race with the host: it reads pinned memory"));
  CHECK_CUDA(cudaMemcpyAsync(pinned, x, 8000, cudaMemcpyDeviceToHost, a));
  CHECK_CUDA(cudaStreamSynchronize(a));
  CHECK(pinned[1999] == 5);
  CHECK(take_problems() == "");
  CHECK_CUDA(cudaFreeHost(pinned));
}

TEST_CASE("streams: the host may not change pinned memory that a copy still reads") {
  DeviceArray<float> x(10);
  float* pinned = nullptr;
  CHECK_CUDA(cudaHostAlloc(&pinned, 40, cudaHostAllocDefault));
  Stream a;
  Event copied;
  pinned[0] = 1;
  CHECK_CUDA(cudaMemcpyAsync(x, pinned, 40, cudaMemcpyHostToDevice, a));
  CHECK_CUDA(cudaEventRecord(copied, a));
  CHECK(pinned[0] == 1);  // reading is fine
  CHECK(take_problems() == "");
  pinned[0] = 2;
  CHECK(contains(take_problems(), "race with the host: it writes pinned memory"));
  CHECK_CUDA(cudaMemcpyAsync(x, pinned, 40, cudaMemcpyHostToDevice, a));
  CHECK_CUDA(cudaEventRecord(copied, a));
  CHECK_CUDA(cudaEventSynchronize(copied));
  pinned[0] = 3;
  CHECK(take_problems() == "");
  CHECK_CUDA(cudaFreeHost(pinned));
}

TEST_CASE("streams: mapped memory that a kernel writes may be polled") {
  float* mapped = nullptr;
  CHECK_CUDA(cudaHostAlloc(&mapped, 128, cudaHostAllocMapped));
  Stream a;
  fill_kernel<<<1, 32, 0, a>>>(mapped, 32, 4);
  while (*static_cast<volatile float*>(mapped + 31) != 4) std::this_thread::yield();
  mapped[0] = 1;
  CHECK(take_problems() == "");
  CHECK_CUDA(cudaFreeHost(mapped));
}

TEST_CASE("streams: a pageable source may change as soon as the call returns") {
  DeviceArray<int> x(1);
  Stream a;
  int value = 1;
  CHECK_CUDA(cudaMemcpyAsync(x, &value, 4, cudaMemcpyHostToDevice, a));
  value = 2;
  CHECK_CUDA(cudaMemcpyAsync(&value, x, 4, cudaMemcpyDeviceToHost, a));
  CHECK(value == 1);
}

TEST_CASE("streams: host synchronisations are counted") {
  DeviceArray<float> x(4);
  Stream a;
  Event event;
  float host[4] = {};
  float* pinned = nullptr;
  CHECK_CUDA(cudaMallocHost(&pinned, 16));
  const auto counted = [](auto&& work) {
    const unsigned long long before = host_synchronizations();
    work();
    return host_synchronizations() - before;
  };
  CHECK(counted([&] { cudaStreamSynchronize(a); }) == 1);
  CHECK(counted([&] { cudaDeviceSynchronize(); }) == 1);
  CHECK(counted([&] {
          cudaEventRecord(event, a);
          cudaEventSynchronize(event);
        }) == 1);
  CHECK(counted([&] { cudaMemcpy(x, host, 16, cudaMemcpyHostToDevice); }) == 1);
  CHECK(counted([&] { cudaMemcpy(host, x, 16, cudaMemcpyDeviceToHost); }) == 1);
  CHECK(counted([&] { cudaMemcpyAsync(host, x, 16, cudaMemcpyDeviceToHost, a); }) == 1);
  CHECK(counted([&] { cudaMemcpyAsync(pinned, x, 16, cudaMemcpyDeviceToHost, a); }) == 0);
  CHECK(counted([&] { cudaMemcpyAsync(x, host, 16, cudaMemcpyHostToDevice, a); }) == 0);
  CHECK(counted([&] { fill_kernel<<<1, 4, 0, a>>>(x, 4, 0); }) == 0);
  CHECK(counted([&] {
          cudaStreamQuery(a);
          cudaEventQuery(event);
        }) == 0);
  CHECK(counted([&] { cudaFree(nullptr); }) == 0);
  CHECK(counted([&] { cudaFreeHost(pinned); }) == 1);
  take_problems();
}

TEST_CASE("streams: host functions run in order and may not call the API") {
  Stream a;
  static cudaError_t inner;
  int value = 0;
  CHECK_CUDA(cudaLaunchHostFunc(
      a, [](void* data) { *static_cast<int*>(data) = 7; }, &value));
  CHECK_CUDA(cudaLaunchHostFunc(
      a, [](void*) { inner = cudaDeviceSynchronize(); }, nullptr));
  CHECK_CUDA(cudaStreamSynchronize(a));
  CHECK(value == 7);
  CHECK(inner == cudaErrorNotPermitted);
}

TEST_CASE("streams: events know their uses") {
  Stream a;
  Event timed(cudaEventDefault), end(cudaEventDefault), untimed;
  float ms = -1;
  CHECK_ERROR(cudaEventElapsedTime(&ms, timed, end), cudaErrorInvalidResourceHandle);
  CHECK_CUDA(cudaEventQuery(timed));  // never recorded: nothing to wait for
  CHECK_CUDA(cudaEventRecord(timed, a));
  CHECK_CUDA(cudaEventRecord(end, a));
  CHECK_CUDA(cudaEventRecord(untimed, a));
  CHECK_CUDA(cudaEventElapsedTime(&ms, timed, end));
  CHECK(ms >= 0);
  CHECK_ERROR(cudaEventElapsedTime(&ms, timed, untimed), cudaErrorInvalidResourceHandle);
  CHECK_ERROR(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(&ms)),
              cudaErrorInvalidResourceHandle);
}

TEST_CASE("alone: late events" * doctest::skip()) {
  Stream a;
  Event event;
  DeviceArray<float> x(4);
  CHECK_CUDA(cudaMemsetAsync(x, 0, 16, a));
  CHECK_CUDA(cudaEventRecord(event, a));
  CHECK_ERROR(cudaEventQuery(event), cudaErrorNotReady);
  CHECK_ERROR(cudaEventQuery(event), cudaErrorNotReady);
  CHECK_CUDA(cudaEventQuery(event));
}
TEST_CASE("streams: events are late on request") {
  const Outcome outcome = run_alone("alone: late events", "SIMULATED_GPU_NOT_READY=2");
  CHECK_MESSAGE(outcome.status == 0, outcome.output);
}

}  // namespace
}  // namespace flyball::simulated_gpu

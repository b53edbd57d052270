// Compiled with --default-stream per-thread.
#include <thread>

#include "tests/simulated_gpu/runtime/test_runtime.h"

namespace flyball::simulated_gpu {
namespace {

__global__ void one_kernel(float* x) { x[threadIdx.x] = 1; }

TEST_CASE("per-thread default stream: null is the thread's own stream, in every call") {
  float* x = nullptr;
  CHECK_CUDA(cudaMalloc(&x, 128));
  float host[32];
  CHECK_CUDA(cudaMemsetAsync(x, 0, 128, nullptr));
  one_kernel<<<1, 32>>>(x);
  CHECK_CUDA(cudaMemcpyAsync(host, x, 128, cudaMemcpyDeviceToHost, nullptr));
  CHECK_CUDA(cudaStreamSynchronize(nullptr));
  CHECK(host[31] == 1);
  // Unlike the legacy stream it can be captured.
  Graph graph;
  capture(graph, nullptr, [&] { one_kernel<<<1, 32>>>(x); });
  CHECK_CUDA(cudaGraphInstantiate(&graph.exec, graph.graph, 0));
  CHECK_CUDA(cudaGraphLaunch(graph.exec, nullptr));
  CHECK(take_problems() == "");
  std::thread([&] { one_kernel<<<1, 32>>>(x); }).join();
  CHECK(contains(take_problems(), "race between streams"));
  CHECK_CUDA(cudaFree(x));
}

}  // namespace
}  // namespace flyball::simulated_gpu

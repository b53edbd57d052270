#include "tests/simulated_gpu/runtime/test_runtime.h"

namespace flyball::simulated_gpu {
namespace {

constexpr int kSize = 300;

// One step of a recurrence whose factor lives in device memory.
__global__ void step_kernel(float* x, const float* factor, int* steps, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = x[i] * *factor + 0.25f;
  if (i == 0) ++*steps;
}
__global__ void add_kernel(float* x, float value) { x[threadIdx.x] += value; }
__global__ void fault_kernel(float* x) { x[threadIdx.x] = 1; }

TEST_CASE("graphs: 200 replays give the bits of 200 eager steps, with no host synchronisation") {
  std::vector<float> results[2];
  for (const bool replayed : {false, true}) {
    DeviceArray<float> x(kSize), factor(1), log(1);
    DeviceArray<int> steps(1);
    float* pinned = nullptr;
    CHECK_CUDA(cudaMallocHost(&pinned, 4));
    Stream stream;
    CHECK_CUDA(cudaMemsetAsync(x, 0, kSize * 4, stream));
    CHECK_CUDA(cudaMemsetAsync(steps, 0, 4, stream));
    const float value = 0.75f;
    CHECK_CUDA(cudaMemcpyAsync(factor, &value, 4, cudaMemcpyHostToDevice, stream));
    const auto step = [&] {
      step_kernel<<<3, 128, 0, stream>>>(x, factor, steps, kSize);
      CHECK_CUDA(cudaMemcpyAsync(log, x, 4, cudaMemcpyDeviceToDevice, stream));
      CHECK_CUDA(cudaMemcpyAsync(pinned, log, 4, cudaMemcpyDeviceToHost, stream));
    };
    Graph graph;
    if (replayed) {
      capture(graph, stream, step);
      CHECK_CUDA(cudaGraphInstantiate(&graph.exec, graph.graph, 0));
    }
    const unsigned long long before = host_synchronizations();
    for (int i = 0; i < 200; ++i) {
      if (replayed) {
        CHECK_CUDA(cudaGraphLaunch(graph.exec, stream));
      } else {
        step();
      }
    }
    CHECK(host_synchronizations() == before);
    CHECK_CUDA(cudaStreamSynchronize(stream));
    int count = 0;
    results[replayed].resize(kSize);
    CHECK_CUDA(cudaMemcpy(&count, steps, 4, cudaMemcpyDeviceToHost));
    CHECK_CUDA(cudaMemcpy(results[replayed].data(), x, kSize * 4, cudaMemcpyDeviceToHost));
    CHECK(count == 200);
    CHECK(*pinned == results[replayed][0]);
    CHECK_CUDA(cudaFreeHost(pinned));
  }
  CHECK(results[0] == results[1]);
  CHECK(take_problems() == "");
}

TEST_CASE("graphs: arguments are frozen when they are captured; nothing runs before the launch") {
  DeviceArray<float> x(32);
  Stream stream;
  Graph graph;
  float value = 1, host[32];
  CHECK_CUDA(cudaMemsetAsync(x, 0, 128, stream));
  capture(graph, stream, [&] { add_kernel<<<1, 32, 0, stream>>>(x, value); });
  value = 100;
  CHECK_CUDA(cudaMemcpyAsync(host, x, 128, cudaMemcpyDeviceToHost, stream));
  CHECK(host[0] == 0);
  CHECK_CUDA(cudaGraphInstantiateWithFlags(&graph.exec, graph.graph, 0));
  CHECK_CUDA(cudaGraphUpload(graph.exec, stream));
  CHECK_CUDA(cudaGraphLaunch(graph.exec, stream));
  CHECK_CUDA(cudaMemcpyAsync(host, x, 128, cudaMemcpyDeviceToHost, stream));
  CHECK(host[31] == 1);
}

TEST_CASE("graphs: forks join over events, and the nodes and edges are as captured") {
  DeviceArray<float> x(32), y(32);
  Stream a, b;
  Event fork, join;
  Graph graph;
  capture(graph, a, [&] {
    CHECK_CUDA(cudaMemsetAsync(x, 0, 128, a));
    CHECK_CUDA(cudaEventRecord(fork, a));
    CHECK_CUDA(cudaStreamWaitEvent(b, fork, 0));
    cudaStreamCaptureStatus status;
    CHECK_CUDA(cudaStreamIsCapturing(b, &status));
    CHECK(status == cudaStreamCaptureStatusActive);
    CHECK_CUDA(cudaMemsetAsync(y, 0, 128, b));
    add_kernel<<<1, 32, 0, a>>>(x, 2.0f);
    CHECK_CUDA(cudaEventRecord(join, b));
    CHECK_CUDA(cudaStreamWaitEvent(a, join, 0));
    CHECK_CUDA(cudaMemcpyAsync(y, x, 128, cudaMemcpyDeviceToDevice, a));
  });
  cudaStreamCaptureStatus status;
  CHECK_CUDA(cudaStreamIsCapturing(b, &status));
  CHECK(status == cudaStreamCaptureStatusNone);
  size_t nodes = 0, edges = 0, roots = 0;
  CHECK_CUDA(cudaGraphGetNodes(graph.graph, nullptr, &nodes));
  CHECK_CUDA(cudaGraphGetEdges(graph.graph, nullptr, nullptr, nullptr, &edges));
  CHECK_CUDA(cudaGraphGetRootNodes(graph.graph, nullptr, &roots));
  CHECK(nodes == 4);
  CHECK(edges == 4);
  CHECK(roots == 1);
  CHECK_CUDA(cudaGraphInstantiate(&graph.exec, graph.graph, 0));
  CHECK_CUDA(cudaGraphLaunch(graph.exec, b));
  float host[32];
  CHECK_CUDA(cudaMemcpyAsync(host, y, 128, cudaMemcpyDeviceToHost, b));
  CHECK(host[5] == 2);
  CHECK(take_problems() == "");
}

TEST_CASE("graphs: two branches that touch the same bytes race") {
  DeviceArray<float> x(32);
  Stream a, b;
  Event fork, join;
  Graph graph;
  capture(graph, a, [&] {
    CHECK_CUDA(cudaEventRecord(fork, a));
    CHECK_CUDA(cudaStreamWaitEvent(b, fork, 0));
    CHECK_CUDA(cudaMemsetAsync(x, 0, 64, a));
    CHECK_CUDA(cudaMemsetAsync(x.data + 15, 0, 60, b));
    CHECK_CUDA(cudaEventRecord(join, b));
    CHECK_CUDA(cudaStreamWaitEvent(a, join, 0));
  });
  CHECK_CUDA(cudaGraphInstantiate(&graph.exec, graph.graph, 0));
  CHECK_CUDA(cudaGraphLaunch(graph.exec, a));
  const std::string problems = take_problems();
  CHECK(contains(problems, "launch 1 of a graph on stream"));
  CHECK(contains(problems, "bytes 60 to 63"));
}

TEST_CASE("graphs: launches on two streams follow each other, other work needs an event") {
  DeviceArray<float> x(32);
  Stream a, b;
  Graph graph;
  capture(graph, a, [&] { add_kernel<<<1, 32, 0, a>>>(x, 1.0f); });
  CHECK_CUDA(cudaGraphInstantiate(&graph.exec, graph.graph, 0));
  CHECK_CUDA(cudaGraphLaunch(graph.exec, a));
  CHECK_CUDA(cudaGraphLaunch(graph.exec, b));
  CHECK(take_problems() == "");
  CHECK_CUDA(cudaMemsetAsync(x, 0, 128, a));
  CHECK(contains(take_problems(), "race between streams"));
}

TEST_CASE("graphs: an executable graph takes new parameters and new graphs of its shape") {
  DeviceArray<float> x(32);
  Stream stream;
  Graph one, two, other;
  const auto value_of_x = [&] {
    float host = 0;
    cudaMemcpyAsync(&host, x, 4, cudaMemcpyDeviceToHost, stream);
    return host;
  };
  capture(one, stream, [&] {
    CHECK_CUDA(cudaMemsetAsync(x, 0, 128, stream));
    add_kernel<<<1, 32, 0, stream>>>(x, 1.0f);
  });
  capture(two, stream, [&] {
    CHECK_CUDA(cudaMemsetAsync(x, 0, 128, stream));
    add_kernel<<<1, 32, 0, stream>>>(x, 5.0f);
  });
  capture(other, stream, [&] { add_kernel<<<1, 32, 0, stream>>>(x, 9.0f); });
  CHECK_CUDA(cudaGraphInstantiate(&one.exec, one.graph, 0));
  cudaGraphExecUpdateResultInfo result;
  CHECK_CUDA(cudaGraphExecUpdate(one.exec, two.graph, &result));
  CHECK_CUDA(cudaGraphLaunch(one.exec, stream));
  CHECK(value_of_x() == 5);
  CHECK_ERROR(cudaGraphExecUpdate(one.exec, other.graph, &result), cudaErrorGraphExecUpdateFailure);
  CHECK(result.result == cudaGraphExecUpdateErrorTopologyChanged);
  size_t count = 2;
  cudaGraphNode_t nodes[2];
  CHECK_CUDA(cudaGraphGetNodes(one.graph, nodes, &count));
  cudaKernelNodeParams parameters;
  CHECK_CUDA(cudaGraphKernelNodeGetParams(nodes[1], &parameters));
  CHECK(*static_cast<float*>(parameters.kernelParams[1]) == 1);
  float value = 7;
  float* data = x;
  void* arguments[] = {&data, &value};
  parameters.kernelParams = arguments;
  CHECK_CUDA(cudaGraphExecKernelNodeSetParams(one.exec, nodes[1], &parameters));
  value = 0;
  CHECK_CUDA(cudaGraphLaunch(one.exec, stream));
  CHECK(value_of_x() == 7);
}

TEST_CASE("graphs: built by hand, with a child and a host function") {
  DeviceArray<float> x(32);
  Stream stream;
  Graph child, parent;
  CHECK_CUDA(cudaGraphCreate(&child.graph, 0));
  cudaGraphNode_t add = nullptr, set = nullptr, inner = nullptr, call = nullptr, back = nullptr;
  float* data = x;
  float value = 3, host = 0;
  void* arguments[] = {&data, &value};
  cudaKernelNodeParams kernel = {};
  kernel.func = reinterpret_cast<void*>(add_kernel);
  kernel.gridDim = dim3(1);
  kernel.blockDim = dim3(32);
  kernel.kernelParams = arguments;
  CHECK_CUDA(cudaGraphAddKernelNode(&add, child.graph, nullptr, 0, &kernel));
  CHECK_CUDA(cudaGraphCreate(&parent.graph, 0));
  cudaMemsetParams zero = {};
  zero.dst = data;
  zero.elementSize = 4;
  zero.width = 32;
  zero.height = 1;
  CHECK_CUDA(cudaGraphAddMemsetNode(&set, parent.graph, nullptr, 0, &zero));
  CHECK_CUDA(cudaGraphAddChildGraphNode(&inner, parent.graph, &set, 1, child.graph));
  CHECK_CUDA(cudaGraphAddMemcpyNode1D(&back, parent.graph, nullptr, 0, &host, data, 4,
                                      cudaMemcpyDeviceToHost));
  CHECK_CUDA(cudaGraphAddDependencies(parent.graph, &inner, &back, nullptr, 1));
  int called = 0;
  cudaHostNodeParams function = {[](void* count) { ++*static_cast<int*>(count); }, &called};
  CHECK_CUDA(cudaGraphAddHostNode(&call, parent.graph, &back, 1, &function));
  CHECK_CUDA(cudaGraphInstantiate(&parent.exec, parent.graph, 0));
  CHECK_CUDA(cudaGraphLaunch(parent.exec, stream));
  CHECK_CUDA(cudaGraphLaunch(parent.exec, stream));
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK(host == 3);
  CHECK(called == 2);
  CHECK(take_problems() == "");
  // A cycle cannot be instantiated.
  CHECK_CUDA(cudaGraphAddDependencies(parent.graph, &call, &set, nullptr, 1));
  cudaGraphExec_t never = nullptr;
  CHECK_ERROR(cudaGraphInstantiate(&never, parent.graph, 0), cudaErrorInvalidValue);
}

TEST_CASE("graphs: a graph launched into a capture becomes part of it") {
  DeviceArray<float> x(32);
  Stream stream;
  Graph inner, outer;
  capture(inner, stream, [&] { add_kernel<<<1, 32, 0, stream>>>(x, 2.0f); });
  CHECK_CUDA(cudaGraphInstantiate(&inner.exec, inner.graph, 0));
  capture(outer, stream, [&] {
    CHECK_CUDA(cudaMemsetAsync(x, 0, 128, stream));
    CHECK_CUDA(cudaGraphLaunch(inner.exec, stream));
    CHECK_CUDA(cudaGraphLaunch(inner.exec, stream));
  });
  CHECK_CUDA(cudaGraphInstantiate(&outer.exec, outer.graph, 0));
  CHECK_CUDA(cudaGraphLaunch(outer.exec, stream));
  float host = 0;
  CHECK_CUDA(cudaMemcpyAsync(&host, x, 4, cudaMemcpyDeviceToHost, stream));
  CHECK(host == 4);
}

TEST_CASE("graphs: a fault in a replay names the launch and loses the device") {
  float* x = nullptr;  // the reset frees it
  CHECK_CUDA(cudaMalloc(&x, 124));
  Stream stream;
  Graph graph;
  capture(graph, stream, [&] { fault_kernel<<<1, 32, 0, stream>>>(x); });
  CHECK_CUDA(cudaGraphInstantiate(&graph.exec, graph.graph, 0));
  CHECK_CUDA(cudaGraphLaunch(graph.exec, stream));
  CHECK_ERROR(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  CHECK(contains(take_problems(), "launch 1 of a graph"));
  CHECK_CUDA(cudaDeviceReset());
}

}  // namespace
}  // namespace flyball::simulated_gpu

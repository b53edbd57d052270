#include <thread>

#include "tests/simulated_gpu/runtime/test_runtime.h"

namespace flyball::simulated_gpu {
namespace {

// The error of a forbidden call during a capture, and that the capture is then invalid.
template <typename Forbidden>
void check_breaks(cudaError_t expected, unsigned stream_flags, Forbidden&& forbidden) {
  Stream stream(stream_flags);
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK_ERROR(forbidden(stream), expected);
  cudaStreamCaptureStatus status;
  CHECK_CUDA(cudaStreamIsCapturing(stream, &status));
  CHECK(status == cudaStreamCaptureStatusInvalidated);
  CHECK_ERROR(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  CHECK_ERROR(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  CHECK(graph == nullptr);
  CHECK_CUDA(cudaStreamSynchronize(stream));
}

TEST_CASE("capture: forbidden calls give the runtime's errors and invalidate it") {
  static void* x = nullptr;
  static float host = 0;
  DeviceArray<float> device(1);
  static float* data = nullptr;
  data = device;
  static Event outside;
  cudaEventRecord(outside, nullptr);
  const auto unsupported = cudaErrorStreamCaptureUnsupported;
  check_breaks(unsupported, 1, [](cudaStream_t s) { return cudaStreamSynchronize(s); });
  check_breaks(unsupported, 1, [](cudaStream_t s) { return cudaStreamQuery(s); });
  check_breaks(unsupported, 1, [](cudaStream_t) { return cudaDeviceSynchronize(); });
  check_breaks(unsupported, 1, [](cudaStream_t) { return cudaMalloc(&x, 4); });
  check_breaks(unsupported, 1, [](cudaStream_t) { return cudaMallocHost(&x, 4); });
  check_breaks(unsupported, 1, [](cudaStream_t) { return cudaFree(data); });
  check_breaks(unsupported, 1, [](cudaStream_t) { return cudaEventQuery(outside); });
  check_breaks(cudaErrorStreamCaptureImplicit, 0,
               [](cudaStream_t) { return cudaMemcpy(data, &host, 4, cudaMemcpyHostToDevice); });
  check_breaks(cudaErrorStreamCaptureImplicit, 0,
               [](cudaStream_t) { return cudaMemsetAsync(data, 0, 4, nullptr); });
  check_breaks(cudaErrorStreamCaptureIsolation, 1,
               [](cudaStream_t s) { return cudaStreamWaitEvent(s, outside, 0); });
}

TEST_CASE("capture: modes, threads and misuse") {
  Stream a, b;
  Event fork;
  void* x = nullptr;
  cudaGraph_t graph = nullptr;
  CHECK_ERROR(cudaStreamEndCapture(a, &graph), cudaErrorIllegalState);
  CHECK_ERROR(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal),
              cudaErrorStreamCaptureUnsupported);

  // Relaxed: memory may be allocated.
  CHECK_CUDA(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  CHECK_ERROR(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed), cudaErrorIllegalState);
  CHECK_CUDA(cudaMalloc(&x, 128));
  // An event of the capture can be neither waited for nor asked.
  CHECK_CUDA(cudaEventRecord(fork, a));
  CHECK_ERROR(cudaEventSynchronize(fork), cudaErrorCapturedEvent);
  CHECK_ERROR(cudaEventQuery(fork), cudaErrorCapturedEvent);
  // A fork that is never joined.
  CHECK_CUDA(cudaStreamWaitEvent(b, fork, 0));
  CHECK_CUDA(cudaMemsetAsync(x, 0, 128, b));
  CHECK_ERROR(cudaStreamEndCapture(a, &graph), cudaErrorStreamCaptureUnjoined);

  // Ended on the wrong stream, then on the right one.
  CHECK_CUDA(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
  CHECK_CUDA(cudaEventRecord(fork, a));
  CHECK_CUDA(cudaStreamWaitEvent(b, fork, 0));
  CHECK_ERROR(cudaStreamEndCapture(b, &graph), cudaErrorStreamCaptureUnmatched);
  CHECK_ERROR(cudaStreamEndCapture(a, &graph), cudaErrorStreamCaptureInvalidated);

  // Thread-local: another thread may allocate, but not end it. Global: it may not, unless it
  // relaxes.
  CHECK_CUDA(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
  std::thread([&] {
    void* other = nullptr;
    CHECK_CUDA(cudaMalloc(&other, 16));
    CHECK_CUDA(cudaFree(other));
    CHECK_ERROR(cudaStreamEndCapture(a, &graph), cudaErrorStreamCaptureWrongThread);
  }).join();
  CHECK_CUDA(cudaStreamEndCapture(a, &graph));
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_CUDA(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  std::thread([&] {
    void* other = nullptr;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    CHECK_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    CHECK(mode == cudaStreamCaptureModeGlobal);
    CHECK_CUDA(cudaMalloc(&other, 16));
    CHECK_CUDA(cudaFree(other));
    CHECK_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    CHECK_ERROR(cudaMalloc(&other, 16), cudaErrorStreamCaptureUnsupported);
  }).join();
  CHECK_ERROR(cudaStreamEndCapture(a, &graph), cudaErrorStreamCaptureInvalidated);

  // Two captures cannot merge.
  CHECK_CUDA(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  CHECK_CUDA(cudaStreamBeginCapture(b, cudaStreamCaptureModeRelaxed));
  CHECK_CUDA(cudaEventRecord(fork, a));
  CHECK_ERROR(cudaStreamWaitEvent(b, fork, 0), cudaErrorStreamCaptureMerge);
  CHECK_ERROR(cudaStreamEndCapture(a, &graph), cudaErrorStreamCaptureInvalidated);
  CHECK_ERROR(cudaStreamEndCapture(b, &graph), cudaErrorStreamCaptureInvalidated);
  CHECK_CUDA(cudaFree(x));
}

TEST_CASE("capture: its state can be read and its dependencies changed") {
  DeviceArray<float> x(32);
  Stream stream;
  Graph graph;
  capture(graph, stream, [&] {
    CHECK_CUDA(cudaMemsetAsync(x, 0, 64, stream));
    cudaStreamCaptureStatus status;
    unsigned long long id = 0;
    cudaGraph_t captured = nullptr;
    const cudaGraphNode_t* last = nullptr;
    size_t count = 0;
    CHECK_CUDA(cudaStreamGetCaptureInfo(stream, &status, &id, &captured, &last, nullptr, &count));
    CHECK(status == cudaStreamCaptureStatusActive);
    CHECK(id > 0);
    REQUIRE(count == 1);
    cudaGraphNode_t extra = nullptr;
    CHECK_CUDA(cudaGraphAddEmptyNode(&extra, captured, last, 1));
    CHECK_CUDA(cudaStreamUpdateCaptureDependencies(stream, &extra, nullptr, 1,
                                                   cudaStreamSetCaptureDependencies));
    CHECK_CUDA(cudaMemsetAsync(x.data + 16, 0, 64, stream));
  });
  size_t nodes = 0, edges = 0;
  CHECK_CUDA(cudaGraphGetNodes(graph.graph, nullptr, &nodes));
  CHECK_CUDA(cudaGraphGetEdges(graph.graph, nullptr, nullptr, nullptr, &edges));
  CHECK(nodes == 3);
  CHECK(edges == 2);
}

}  // namespace
}  // namespace flyball::simulated_gpu

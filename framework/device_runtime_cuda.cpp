#include <cuda_runtime_api.h>

#include <atomic>
#include <deque>
#include <mutex>

#include "framework/device_runtime.h"
#include "kernels/cuda/recent_launches.h"
#include "kernels/error.h"

namespace flyball {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  const std::string launches = cuda::recent_launches();
  throw Error(str("cuda: ", what, ": ", cudaGetErrorString(error),
                  launches.empty() ? "" : "; the last launches: ", launches));
}

cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t as_event(void* event) { return static_cast<cudaEvent_t>(event); }

class CudaRuntime : public DeviceRuntime {
 public:
  explicit CudaRuntime(int index) : index_(index) {}

  int compute_capability() override {
    if (capability_ == 0) {
      int major = 0, minor = 0;
      check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index_),
            "compute capability");
      check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index_),
            "compute capability");
      capability_ = 10 * major + minor;
    }
    return capability_;
  }

  void* create_stream() override {
    cudaStream_t stream = nullptr;
    check(cudaSetDevice(index_), "set device");
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "create stream");
    return stream;
  }
  void destroy_stream(void* stream) override { cudaStreamDestroy(as_stream(stream)); }
  void synchronize(void* stream) override {
    refuse_in_capture(stream, "wait of the host");
    check(cudaStreamSynchronize(as_stream(stream)), "synchronize");
  }

  void* create_event() override {
    cudaEvent_t event = nullptr;
    check(cudaSetDevice(index_), "set device");
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "create event");
    return event;
  }
  void destroy_event(void* event) override { cudaEventDestroy(as_event(event)); }
  void record(void* event, void* stream) override {
    check(cudaEventRecord(as_event(event), as_stream(stream)), "record event");
  }
  void wait(void* stream, void* event) override {
    check(cudaStreamWaitEvent(as_stream(stream), as_event(event), 0), "wait for event");
  }
  bool ready(void* event) override {
    const cudaError_t state = cudaEventQuery(as_event(event));
    if (state == cudaErrorNotReady) {
      cudaGetLastError();  // or the next launch would report it as its own
      return false;
    }
    check(state, "query event");
    return true;
  }
  void synchronize_event(void* event) override {
    check(cudaEventSynchronize(as_event(event)), "wait for event");
  }

  void* allocate(int64_t bytes) override {
    void* data = nullptr;
    check(cudaSetDevice(index_), "set device");
    const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes > 0 ? bytes : 1));
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // not sticky: the caller frees its cache and tries again
      return nullptr;
    }
    check(error, "allocate");
    return data;
  }
  void free(void* data) override { cudaFree(data); }
  void fill_bytes(void* data, uint8_t value, int64_t bytes, void* stream) override {
    check(cudaMemsetAsync(data, value, static_cast<size_t>(bytes), as_stream(stream)), "fill");
  }
  void copy_to_device(void* to, const void* from, int64_t bytes, void* stream) override {
    refuse_in_capture(stream, "copy from host memory");
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                          as_stream(stream)),
          "copy to device");
  }
  void copy_to_host(void* to, const void* from, int64_t bytes, void* stream) override {
    refuse_in_capture(stream, "copy to host memory");
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost,
                          as_stream(stream)),
          "copy to host");
    synchronize(stream);
  }
  int64_t free_bytes() override {
    size_t free = 0, total = 0;
    check(cudaSetDevice(index_), "set device");
    check(cudaMemGetInfo(&free, &total), "ask for free memory");
    return static_cast<int64_t>(free);
  }
  bool untouched_memory_is_free() override { return false; }

  void* allocate_pinned(int64_t bytes) override {
    void* data = nullptr;
    check(cudaSetDevice(index_), "set device");
    const cudaError_t error =
        cudaHostAlloc(&data, static_cast<size_t>(bytes > 0 ? bytes : 1), cudaHostAllocPortable);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    check(error, "allocate pinned memory");
    return data;
  }
  void free_pinned(void* data) override { cudaFreeHost(data); }
  void copy_pinned(void* to, const void* from, int64_t bytes, void* stream) override {
    check(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, as_stream(stream)),
        "copy");
  }

  bool captures() const override { return true; }
  // Relaxed: allocations are allowed in between; the allocator keeps them for the graph alone.
  void begin_capture(void* stream) override {
    check(cudaStreamBeginCapture(as_stream(stream), cudaStreamCaptureModeRelaxed), "begin capture");
  }
  void* end_capture(void* stream) override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(as_stream(stream), &graph), "end capture");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "instantiate graph");
    return executable;
  }
  void abandon_capture(void* stream) override {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(as_stream(stream), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
  }
  void launch_graph(void* graph, void* stream) override {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), as_stream(stream)), "launch graph");
  }
  void destroy_graph(void* graph) override {
    cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
  }

 private:
  // A graph would repeat what the host did once.
  static void refuse_in_capture(void* stream, const char* what) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(as_stream(stream), &status), "ask for capture");
    if (status == cudaStreamCaptureStatusNone) return;
    throw Error(
        str("captured step: a ", what,
            " inside it would be frozen into the graph; expected work on the device alone"));
  }

  int index_;
  std::atomic<int> capability_ = 0;  // 0: not asked yet
};

}  // namespace

DeviceRuntime& cuda_runtime(int index) {
  static auto* runtimes =
      new std::deque<CudaRuntime>;  // never destroyed: tensors in static storage use them
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  while (static_cast<int>(runtimes->size()) <= index)
    runtimes->emplace_back(static_cast<int>(runtimes->size()));
  return (*runtimes)[static_cast<size_t>(index)];
}

int cuda_device_count() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  throw Error(
      str("no CUDA device: ", error == cudaSuccess ? "none found" : cudaGetErrorString(error)));
}

}  // namespace flyball

#pragma once

#include <cstdint>
#include <type_traits>

#include "framework/stream.h"
#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"
#include "kernels/error.h"

namespace flyball {

#if FLYBALL_HAVE_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

// Memory of the stream's device for as long as the object lives; freed memory is reused in stream
// order.
class Workspace {
 public:
  Workspace(const Stream& stream, int64_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return data_; }

 private:
  const Stream& stream_;
  int64_t bytes_;
  void* data_;
};

// Argument structs of bf16 are for CUDA alone.
template <class Arguments>
inline constexpr bool kRunsOnCpu = true;
template <template <class...> class Operation, class... T>
inline constexpr bool kRunsOnCpu<Operation<T...>> = !(std::is_same_v<T, bf16> || ...);

// The only place that branches on the device: enqueues one kernel on the stream.
//   run<cpu::gemm<float>, cuda::gemm<float>>(stream, Gemm<float>{...});
// Argument structs with a `workspace` get it here, as large as their workspace_bytes() says. A null
// function: the kernel has no version for that device, which is an Error.
template <auto cpu_function, auto cuda_function, class Arguments>
void run(const Stream& stream, const Arguments& arguments) {
  const bool on_cpu = stream.device().kind == Device::Kind::cpu;
  if (on_cpu && !kRunsOnCpu<Arguments>) {
    throw Error(str("run: bf16 is computed on CUDA devices, this is ", stream.device().str()));
  }
  if constexpr (kRunsOnCpu<Arguments> && !std::is_null_pointer_v<decltype(cpu_function)>) {
    if (on_cpu) return cpu_function(arguments);
  }
  if constexpr (kHasCuda && !std::is_null_pointer_v<decltype(cuda_function)>) {
    if (on_cpu) throw Error(str("run: this kernel has no version for ", stream.device().str()));
    const auto cuda_stream = static_cast<cudaStream_t>(stream.handle());
    if constexpr (requires { arguments.workspace; }) {
      const Workspace workspace(stream, workspace_bytes(arguments));
      Arguments with_workspace = arguments;
      with_workspace.workspace = workspace.data();
      cuda_function(with_workspace, cuda_stream);
    } else {
      cuda_function(arguments, cuda_stream);
    }
  } else {
    throw Error(str("run: this kernel has no version for ", stream.device().str()));
  }
}

// Whether conv2d has the column sums of its result at hand; elsewhere a pass of its own makes them.
inline bool sums_come_with_conv2d(const Stream& stream) {
  return stream.device().kind == Device::Kind::cuda;
}

// Copies between host and device memory. copy_to_device is enqueued and has read `from` when it
// returns; copy_to_host waits for the stream, which is counted; copy_pinned is only enqueued, its
// host side is pinned memory.
void copy_to_device(const Stream& stream, void* to, const void* from, int64_t bytes);
void copy_to_host(const Stream& stream, void* to, const void* from, int64_t bytes);
void copy_pinned(const Stream& stream, void* to, const void* from, int64_t bytes);

}  // namespace flyball

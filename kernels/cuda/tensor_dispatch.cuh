#pragma once

#include <type_traits>

#include "kernels/conv2d.h"
#include "kernels/gemm.h"

// The tensor-core versions of gemm and conv2d, for bf16 and, on f32 operands, tf32. Their callers
// are the functions of the public headers.
namespace flyball::cuda::tensor {

// Throws where the current device has no tensor cores for bf16 and tf32; asks each device once.
// `what`: "gemm: tf32".
void require_tensor_cores(const char* what);

template <class T, class Out>
void gemm(const Gemm<T, Out>&, cudaStream_t);
template <class T, class Out>
int64_t gemm_workspace_bytes(const Gemm<T, Out>&);

template <class T>
void conv2d_forward(const Conv2dForward<T>&, cudaStream_t);
template <class T>
int64_t conv2d_forward_workspace_bytes(const Conv2dForward<T>&);

template <class T>
void conv2d_backward_data(const Conv2dBackwardData<T>&, cudaStream_t);
template <class T>
int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<T>&);

template <class T>
void conv2d_backward_weights(const Conv2dBackwardWeights<T>&, cudaStream_t);
template <class T>
int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<T>&);

// Calls tensor_version(arguments) where they ask for tensor cores, simt_version(arguments)
// otherwise.
template <class T, class Arguments, class Tensor, class Simt>
auto dispatch(const Arguments& arguments, Tensor&& tensor_version, Simt&& simt_version) {
  if constexpr (std::is_same_v<T, bf16>) {
    return tensor_version(arguments);
  } else {
    if constexpr (std::is_same_v<T, float>) {
      if (arguments.tf32) return tensor_version(arguments);
    }
    return simt_version(arguments);
  }
}

}  // namespace flyball::cuda::tensor

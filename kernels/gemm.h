#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

namespace flyball {

// c = relu?(op(a) * op(b) + bias?)   or, with accumulate,   c += op(a) * op(b)
// op(a): [m, k], stored [m, k], or [k, m] with transpose_a. op(b): [k, n], stored [k, n], or [n, k]
// with transpose_b. bias: [n] or null. c: [m, n]. All dense and row-major; c aliases nothing.
// Sums in T. accumulate excludes bias and relu. The result does not depend on the thread count.
// CUDA: m, n and k below 2^31 - 128; a k that is cut into parts is cut by the sizes alone, and the
// parts are summed in order, so that the same sizes give the same bits.
template <class T>
struct Gemm {
  const T* a = nullptr;
  const T* b = nullptr;
  const T* bias = nullptr;
  T* c = nullptr;
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool relu = false;
  bool accumulate = false;
  void* workspace = nullptr;  // CUDA only: workspace_bytes() bytes, 16-byte aligned
};

namespace cpu {
template <class T>
void gemm(const Gemm<T>&);
}

namespace cuda {
template <class T>
void gemm(const Gemm<T>&, cudaStream_t);
template <class T>
int64_t gemm_workspace_bytes(const Gemm<T>&);
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const Gemm<T>& arguments) {
  return cuda::gemm_workspace_bytes(arguments);
}

}  // namespace flyball

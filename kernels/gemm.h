#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

namespace flyball {

// c = relu?(op(a) * op(b) + bias?)   or, with accumulate,   c += op(a) * op(b)
// op(a): [m, k], stored [m, k], or [k, m] with transpose_a. op(b): [k, n], stored [k, n], or [n, k]
// with transpose_b. bias: [n] or null. c: [m, n]. All dense and row-major; c aliases nothing.
// Sums in T. accumulate excludes bias and relu. The result does not depend on the thread count.
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
};

namespace cpu {
template <class T>
void gemm(const Gemm<T>&);
}

namespace cuda {
template <class T>
void gemm(const Gemm<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

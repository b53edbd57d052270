#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"

namespace flyball {

// c = relu?(op(a) * op(b) + bias?)   or, with accumulate,   c += op(a) * op(b)
// op(a): [m, k], stored [m, k], or [k, m] with transpose_a. op(b): [k, n], stored [k, n], or [n, k]
// with transpose_b. bias: [n] or null. c: [m, n]. All dense and row-major; c aliases nothing.
// Sums in T, or in f32 for bf16, rounded once to Out. accumulate excludes bias and relu. The result
// does not depend on the thread count.
// tf32, of f32 operands: both are rounded to tf32 (11 significant bits, ties away from zero) and
// multiplied on tensor cores, as bf16 is; sums in f32. Products are exact then, and the tensor
// cores may truncate where they add. T, Out: float; double; bf16; bf16, float. CUDA: m, n and k
// below 2^31 - 128; a k that is cut into parts is cut by the sizes alone, and the parts are summed
// in order, so that the same sizes give the same bits. tf32 and bf16 throw Error on the CPU and on
// devices below compute capability 8.0.
template <class T, class Out = T>
struct Gemm {
  const T* a = nullptr;
  const T* b = nullptr;
  const Accumulator<T>* bias = nullptr;
  Out* c = nullptr;
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool relu = false;
  bool accumulate = false;
  bool tf32 = false;
  // CUDA, f32 and f64: of k, summed apart, whatever the other sizes; 0: see above.
  int64_t part = 0;
  void* workspace = nullptr;  // CUDA only: workspace_bytes() bytes, 16-byte aligned
};

namespace cpu {
template <class T>
void gemm(const Gemm<T>&);
}

namespace cuda {
template <class T, class Out = T>
void gemm(const Gemm<T, Out>&, cudaStream_t);
template <class T, class Out = T>
int64_t gemm_workspace_bytes(const Gemm<T, Out>&);
}  // namespace cuda

// What run() allocates.
template <class T, class Out>
int64_t workspace_bytes(const Gemm<T, Out>& arguments) {
  return cuda::gemm_workspace_bytes(arguments);
}

}  // namespace flyball

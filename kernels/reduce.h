#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"

// T: float or double; on CUDA bf16 too, but for sum_of_squares.
namespace flyball {

// y[0] (+)= alpha * sum of x. Two stages in f64: fixed chunks, then the chunks in order.
template <class T>
struct ReduceSum {
  const T* x = nullptr;
  T* y = nullptr;
  int64_t count = 0;
  double alpha = 1;
  bool accumulate = false;
  void* workspace = nullptr;  // CUDA only: reduce_sum_workspace_bytes(), 16-byte aligned
};

// y[column] (+)= sum over rows of x[row, column]. Fixed groups of rows, then the groups in order.
template <class T>
struct ReduceRows {
  const T* x = nullptr;
  Accumulator<T>* y = nullptr;
  int64_t rows = 0, columns = 0;
  bool accumulate = false;
  void* workspace = nullptr;  // CUDA only: reduce_rows_workspace_bytes(), 16-byte aligned
};

// y[0] (+)= sum of x^2 in f64, the input of gradient clipping; non-finite elements count as 0, as
// they do in the optimizers. Two stages, fixed order.
template <class T>
struct SumOfSquares {
  const T* x = nullptr;
  double* y = nullptr;
  int64_t count = 0;
  bool accumulate = false;
  void* workspace = nullptr;  // CUDA only: sum_of_squares_workspace_bytes(), 16-byte aligned
};

namespace cpu {
template <class T>
void reduce_sum(const ReduceSum<T>&);
template <class T>
void reduce_rows(const ReduceRows<T>&);
template <class T>
void sum_of_squares(const SumOfSquares<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void reduce_sum(const ReduceSum<T>&, cudaStream_t);
template <class T>
void reduce_rows(const ReduceRows<T>&, cudaStream_t);
template <class T>
void sum_of_squares(const SumOfSquares<T>&, cudaStream_t);
template <class T>
int64_t reduce_sum_workspace_bytes(const ReduceSum<T>&);
template <class T>
int64_t reduce_rows_workspace_bytes(const ReduceRows<T>&);
template <class T>
int64_t sum_of_squares_workspace_bytes(const SumOfSquares<T>&);
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const ReduceSum<T>& arguments) {
  return cuda::reduce_sum_workspace_bytes(arguments);
}
template <class T>
int64_t workspace_bytes(const ReduceRows<T>& arguments) {
  return cuda::reduce_rows_workspace_bytes(arguments);
}
template <class T>
int64_t workspace_bytes(const SumOfSquares<T>& arguments) {
  return cuda::sum_of_squares_workspace_bytes(arguments);
}

}  // namespace flyball

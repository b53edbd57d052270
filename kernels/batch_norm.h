#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/conv2d.h"
#include "kernels/cuda_stream.h"

// Batch normalisation over the rows of [rows, c], rows = n*h*w of an image [n, h, w, c].
// Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithms 1 and 2.
// T: float or double; on CUDA bf16 too, which is computed in f32 and rounded once where it is
// stored. gamma, beta and all statistics are [c] of Accumulator<T>.
namespace flyball {

// Training: y = relu?(gamma * (x - mean) * inv_std + beta + residual?)
//   mean = sum of x / rows,   inv_std = 1 / sqrt(sum of (x - mean)^2 / rows + eps)
//   running_mean = (1 - momentum) running_mean + momentum * mean
//   running_var  = (1 - momentum) running_var  + momentum * sum of (x - mean)^2 / (rows - 1)
// both left as they are where that sum is not finite: optimizers skip such a step too.
// x, residual, y: [rows, c], rows at least 2. residual may be null; so may running_mean and
// running_var, together.
// Statistics: sums and squared deviations of tiles of rows, each around a value of its own, merged
// in f64 in a fixed order, so that a large mean cancels nothing.
// column_sums: null, or what Conv2dForward wrote while it made x, [ceil(rows / kColumnSumRows), 2,
// c]; x is then read once.
// mean and inv_std are kept for the backward pass. y aliases nothing.
template <class T>
struct BatchNormForward {
  const T* x = nullptr;
  const Accumulator<T>* gamma = nullptr;
  const Accumulator<T>* beta = nullptr;
  const T* residual = nullptr;
  const Accumulator<T>* column_sums = nullptr;
  T* y = nullptr;
  Accumulator<T>* mean = nullptr;
  Accumulator<T>* inv_std = nullptr;
  Accumulator<T>* running_mean = nullptr;
  Accumulator<T>* running_var = nullptr;
  int64_t rows = 0, c = 0;
  double eps = 1e-5, momentum = 0.1;
  bool relu = false;
  void* workspace = nullptr;  // CUDA only: workspace_bytes() bytes, 16-byte aligned
};

// With statistics that are there: y = relu?(gamma * (x - mean) * inv_std + beta + residual?)
//   inv_std as given, or, where it is null, 1 / sqrt(var + eps)
// In evaluation mean and var are the running ones. With what a forward pass in training kept, y has
// the bits that it had there. y aliases nothing.
template <class T>
struct BatchNormApply {
  const T* x = nullptr;
  const Accumulator<T>* gamma = nullptr;
  const Accumulator<T>* beta = nullptr;
  const T* residual = nullptr;
  const Accumulator<T>* mean = nullptr;
  const Accumulator<T>* var = nullptr;
  const Accumulator<T>* inv_std = nullptr;
  T* y = nullptr;
  int64_t rows = 0, c = 0;
  double eps = 1e-5;
  bool relu = false;
};

// The way back through training. With h = (x - mean) * inv_std and dz = dy where the ReLU let x
// through, else 0:
//   dbeta (+)= sum of dz,   dgamma (+)= sum of dz * h,   dresidual (+)= dz
//   dx (+)= gamma * inv_std * (dz - sum of dz / rows - h * (sum of dz * h) / rows)
// The ReLU let through what has y > 0; where y is null, what has (x - mean) * (gamma * inv_std) +
// beta > 0, which is y without a residual; where beta is null too, there is no ReLU and dz = dy.
// dx, dgamma, dbeta and dresidual may each be null. Sums over tiles of rows, added in f64 in a
// fixed order. Nothing aliases.
template <class T>
struct BatchNormBackward {
  const T* x = nullptr;
  const T* y = nullptr;
  const T* dy = nullptr;
  const Accumulator<T>* gamma = nullptr;
  const Accumulator<T>* beta = nullptr;
  const Accumulator<T>* mean = nullptr;
  const Accumulator<T>* inv_std = nullptr;
  T* dx = nullptr;
  Accumulator<T>* dgamma = nullptr;
  Accumulator<T>* dbeta = nullptr;
  T* dresidual = nullptr;
  int64_t rows = 0, c = 0;
  bool accumulate_dx = false, accumulate_dgamma = false, accumulate_dbeta = false;
  bool accumulate_dresidual = false;
  void* workspace = nullptr;  // CUDA only: workspace_bytes() bytes, 16-byte aligned
};

namespace cpu {
template <class T>
void batch_norm_forward(const BatchNormForward<T>&);
template <class T>
void batch_norm_apply(const BatchNormApply<T>&);
template <class T>
void batch_norm_backward(const BatchNormBackward<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void batch_norm_forward(const BatchNormForward<T>&, cudaStream_t);
template <class T>
int64_t batch_norm_forward_workspace_bytes(const BatchNormForward<T>&);
template <class T>
void batch_norm_apply(const BatchNormApply<T>&, cudaStream_t);
template <class T>
void batch_norm_backward(const BatchNormBackward<T>&, cudaStream_t);
template <class T>
int64_t batch_norm_backward_workspace_bytes(const BatchNormBackward<T>&);
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const BatchNormForward<T>& arguments) {
  return cuda::batch_norm_forward_workspace_bytes(arguments);
}
template <class T>
int64_t workspace_bytes(const BatchNormBackward<T>& arguments) {
  return cuda::batch_norm_backward_workspace_bytes(arguments);
}

}  // namespace flyball

#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"

namespace flyball {

// x: [n, h, w, c], filters: [k, r, s, c], y: [n, p, q, k]; the same stride and zero padding on both
// axes. CUDA: n*h*w, n*p*q, r*s*c and r*s*k are below 2^31 - 128; sums that are cut into parts are
// cut by the shape alone and added in order, so that the same shape gives the same bits.
// Sums in T, or in f32 for bf16, rounded once where they are stored. tf32, of f32 operands: both
// are rounded to tf32 (11 significant bits, ties away from zero) and multiplied on tensor cores, as
// bf16 is; sums in f32. tf32 and bf16 throw Error on the CPU and on devices below compute
// capability 8.0.
struct Conv2dShape {
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t k = 0, r = 0, s = 0;
  int64_t stride = 1, padding = 0;
  int64_t p() const { return (h + 2 * padding - r) / stride + 1; }
  int64_t q() const { return (w + 2 * padding - s) / stride + 1; }
};

// Rows of y, seen as [n*p*q, k], that share their column sums; the last ones may be fewer. The same
// on every device.
inline constexpr int kColumnSumRows = 64;
inline int64_t column_sum_tiles(const Conv2dShape& d) {
  return (d.n * d.p() * d.q() + kColumnSumRows - 1) / kColumnSumRows;
}

// y[n,p,q,k] = relu?(sum_{r,s,c} x[n, p*stride + r - padding, q*stride + s - padding, c] *
// filters[k,r,s,c]
//              + bias[k]?)      (cross-correlation, as every deep-learning framework defines it)
// bias may be null. y aliases nothing.
// column_sums: null, or [column_sum_tiles(shape), 2, k], what a batch norm of y needs: for each
// tile of rows and each channel, of the values as they are stored in y, their sum, and the sum of
// their squared deviations from the tile's own mean, so that a large mean cancels nothing. In a
// fixed order. Tiles of n and m rows with means a and b and squares A and B are one of n + m rows
// with
//   mean a + (b - a) m / (n + m)   and squares   A + B + (b - a)^2 n m / (n + m)
// (Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample
// variances).
template <class T>
struct Conv2dForward {
  const T* x = nullptr;
  const T* filters = nullptr;
  const Accumulator<T>* bias = nullptr;
  T* y = nullptr;
  Accumulator<T>* column_sums = nullptr;
  Conv2dShape shape;
  bool relu = false;
  bool tf32 = false;
  void* workspace = nullptr;  // CUDA only: workspace_bytes() bytes, 16-byte aligned
};

// dx (+)= the gradient of sum(y * dy) with respect to x, for the convolution without ReLU.
template <class T>
struct Conv2dBackwardData {
  const T* dy = nullptr;
  const T* filters = nullptr;
  T* dx = nullptr;
  Conv2dShape shape;
  bool accumulate = false;
  bool tf32 = false;
  void* workspace = nullptr;  // CUDA only: workspace_bytes() bytes, 16-byte aligned
};

// dfilters (+)= the gradient of sum(y * dy) with respect to the filters, for the convolution
// without ReLU. The batch is summed in fixed groups in a fixed order: the same bits for every
// thread count.
template <class T>
struct Conv2dBackwardWeights {
  const T* x = nullptr;
  const T* dy = nullptr;
  Accumulator<T>* dfilters = nullptr;
  Conv2dShape shape;
  bool accumulate = false;
  bool tf32 = false;
  void* workspace = nullptr;  // CUDA only: workspace_bytes() bytes, 16-byte aligned
};

namespace cpu {
template <class T>
void conv2d_forward(const Conv2dForward<T>&);
template <class T>
void conv2d_backward_data(const Conv2dBackwardData<T>&);
template <class T>
void conv2d_backward_weights(const Conv2dBackwardWeights<T>&);
}  // namespace cpu

namespace cuda {
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
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const Conv2dForward<T>& arguments) {
  return cuda::conv2d_forward_workspace_bytes(arguments);
}
template <class T>
int64_t workspace_bytes(const Conv2dBackwardData<T>& arguments) {
  return cuda::conv2d_backward_data_workspace_bytes(arguments);
}
template <class T>
int64_t workspace_bytes(const Conv2dBackwardWeights<T>& arguments) {
  return cuda::conv2d_backward_weights_workspace_bytes(arguments);
}

}  // namespace flyball

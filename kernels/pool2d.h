#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"

// T: float or double; on CUDA bf16 too, which is computed in f32 and rounded once where it is
// stored.
namespace flyball {

// x: [n, h, w, c], y: [n, p, q, c]; square window, the same stride and padding on both axes.
// padding is at most window / 2, so every window holds at least one real element; window <= 15.
struct Pool2dShape {
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t window = 2, stride = 2, padding = 0;
  int64_t p() const { return (h + 2 * padding - window) / stride + 1; }
  int64_t q() const { return (w + 2 * padding - window) / stride + 1; }
};

inline constexpr uint8_t kNoWinner = 255;

// y = max over the window; with relu, y = max(0, that), which equals pooling after a ReLU.
// argmax[n,p,q,c] = row * window + column of the first largest element inside the window, kNoWinner
// where the fused ReLU gave 0; null when no backward pass follows. Padding never wins.
template <class T>
struct MaxPool2dForward {
  const T* x = nullptr;
  T* y = nullptr;
  uint8_t* argmax = nullptr;
  Pool2dShape shape;
  bool relu = false;
};

// dx (+)= dy sent to each window's winner; overlapping windows are summed in a fixed order.
template <class T>
struct MaxPool2dBackward {
  const T* dy = nullptr;
  const uint8_t* argmax = nullptr;
  T* dx = nullptr;
  Pool2dShape shape;
  bool accumulate = false;
};

// y = sum over the window / window^2 (padding counts as zeros, as in PyTorch's default).
template <class T>
struct AveragePool2dForward {
  const T* x = nullptr;
  T* y = nullptr;
  Pool2dShape shape;
};

template <class T>
struct AveragePool2dBackward {
  const T* dy = nullptr;
  T* dx = nullptr;
  Pool2dShape shape;
  bool accumulate = false;
};

// y[n,c] = mean over the pixels of x[n, pixels, c].
template <class T>
struct GlobalAveragePoolForward {
  const T* x = nullptr;
  T* y = nullptr;
  int64_t n = 0, pixels = 0, c = 0;
};

// dx[n,pixel,c] (+)= dy[n,c] / pixels.
template <class T>
struct GlobalAveragePoolBackward {
  const T* dy = nullptr;
  T* dx = nullptr;
  int64_t n = 0, pixels = 0, c = 0;
  bool accumulate = false;
};

namespace cpu {
template <class T>
void max_pool2d_forward(const MaxPool2dForward<T>&);
template <class T>
void max_pool2d_backward(const MaxPool2dBackward<T>&);
template <class T>
void average_pool2d_forward(const AveragePool2dForward<T>&);
template <class T>
void average_pool2d_backward(const AveragePool2dBackward<T>&);
template <class T>
void global_average_pool_forward(const GlobalAveragePoolForward<T>&);
template <class T>
void global_average_pool_backward(const GlobalAveragePoolBackward<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void max_pool2d_forward(const MaxPool2dForward<T>&, cudaStream_t);
template <class T>
void max_pool2d_backward(const MaxPool2dBackward<T>&, cudaStream_t);
template <class T>
void average_pool2d_forward(const AveragePool2dForward<T>&, cudaStream_t);
template <class T>
void average_pool2d_backward(const AveragePool2dBackward<T>&, cudaStream_t);
template <class T>
void global_average_pool_forward(const GlobalAveragePoolForward<T>&, cudaStream_t);
template <class T>
void global_average_pool_backward(const GlobalAveragePoolBackward<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

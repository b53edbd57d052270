#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"

// T: float or double; on CUDA bf16 too, which is computed in f32 and rounded once where it is
// stored.
namespace flyball {

// x (+)= value * *factor; factor is in device memory, null stands for 1. T may be u8 too, without
// factor and accumulate.
template <class T>
struct Fill {
  T* x = nullptr;
  Accumulator<T> value = 0;
  const T* factor = nullptr;
  int64_t count = 0;
  bool accumulate = false;
};

// y (+)= alpha * x; alpha is read from device memory when alpha_pointer is given. y may be x.
template <class T>
struct Scale {
  const T* x = nullptr;
  T* y = nullptr;
  Accumulator<T> alpha = 1;
  const Accumulator<T>* alpha_pointer = nullptr;
  int64_t count = 0;
  bool accumulate = false;
};

// y = a + b. y may be a or b.
template <class T>
struct Add {
  const T* a = nullptr;
  const T* b = nullptr;
  T* y = nullptr;
  int64_t count = 0;
};

// y (+)= a * b. y may be a or b unless accumulate.
template <class T>
struct Multiply {
  const T* a = nullptr;
  const T* b = nullptr;
  T* y = nullptr;
  int64_t count = 0;
  bool accumulate = false;
};

// y = max(x, 0); NaN stays NaN. y may be x.
template <class T>
struct ReluForward {
  const T* x = nullptr;
  T* y = nullptr;
  int64_t count = 0;
};

// dx (+)= y > 0 ? dy : 0. dx may be dy unless accumulate.
template <class T>
struct ReluBackward {
  const T* y = nullptr;
  const T* dy = nullptr;
  T* dx = nullptr;
  int64_t count = 0;
  bool accumulate = false;
};

// The backward pass of a fused bias + ReLU epilogue, in one read of dy:
// dz = y > 0 ? dy : 0;  dbias (+)= sum over rows of dz.
// y, dy, dz: [rows, columns]; dbias: [columns] or null. dz may be dy. Rows are summed in fixed
// groups, in order.
template <class T>
struct BiasReluBackward {
  const T* y = nullptr;
  const T* dy = nullptr;
  T* dz = nullptr;
  Accumulator<T>* dbias = nullptr;
  int64_t rows = 0, columns = 0;
  bool accumulate_dbias = false;
  void* workspace = nullptr;  // CUDA only: bias_relu_backward_workspace_bytes(), 16-byte aligned
};

namespace cpu {
template <class T>
void fill(const Fill<T>&);
template <class T>
void scale(const Scale<T>&);
template <class T>
void add(const Add<T>&);
template <class T>
void multiply(const Multiply<T>&);
template <class T>
void relu_forward(const ReluForward<T>&);
template <class T>
void relu_backward(const ReluBackward<T>&);
template <class T>
void bias_relu_backward(const BiasReluBackward<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void fill(const Fill<T>&, cudaStream_t);
template <class T>
void scale(const Scale<T>&, cudaStream_t);
template <class T>
void add(const Add<T>&, cudaStream_t);
template <class T>
void multiply(const Multiply<T>&, cudaStream_t);
template <class T>
void relu_forward(const ReluForward<T>&, cudaStream_t);
template <class T>
void relu_backward(const ReluBackward<T>&, cudaStream_t);
template <class T>
void bias_relu_backward(const BiasReluBackward<T>&, cudaStream_t);
template <class T>
int64_t bias_relu_backward_workspace_bytes(const BiasReluBackward<T>&);
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const BiasReluBackward<T>& arguments) {
  return cuda::bias_relu_backward_workspace_bytes(arguments);
}

}  // namespace flyball

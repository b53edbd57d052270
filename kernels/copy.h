#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"

namespace flyball {

// to = from, element by element, converted with C++ rules (f64 to f32 rounds to nearest even).
// CUDA: bf16 to f32, and f32 to bf16 as to_bf16() rounds.
template <class From, class To>
struct Cast {
  const From* from = nullptr;
  To* to = nullptr;
  int64_t count = 0;
};

// y[column, row] = x[row, column]. y must not alias x. T: float or double; on CUDA bf16 too.
template <class T>
struct Transpose {
  const T* x = nullptr;
  T* y = nullptr;
  int64_t rows = 0, columns = 0;
};

// Plain bytes, non-overlapping.
struct Copy {
  const void* from = nullptr;
  void* to = nullptr;
  int64_t bytes = 0;
};

namespace cpu {
void copy(const Copy&);
template <class From, class To>
void cast(const Cast<From, To>&);
template <class T>
void transpose(const Transpose<T>&);
}  // namespace cpu

namespace cuda {
void copy(const Copy&, cudaStream_t);
template <class From, class To>
void cast(const Cast<From, To>&, cudaStream_t);
template <class T>
void transpose(const Transpose<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

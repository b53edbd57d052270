#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

namespace flyball {

// y[i] = table[tokens[i]], or 0 where tokens[i] is `padding`. table: [rows, d], y: [count, d]. A
// token outside [0, rows) is treated as padding: a device cannot refuse it, the caller may.
template <class T>
struct EmbeddingForward {
  const int32_t* tokens = nullptr;
  const T* table = nullptr;
  T* y = nullptr;
  int64_t count = 0, rows = 0, d = 0;
  int64_t padding = -1;  // -1: none
};

// dtable[row] (+)= the sum of dy[i] over all i with tokens[i] = row, in the order of i: a stable
// counting sort of the positions, then the sum of each row's segment. The padding row and the rows
// below `frozen` get 0 (nothing, with accumulate). Sums in T. count below 2^31.
template <class T>
struct EmbeddingBackward {
  const int32_t* tokens = nullptr;
  const T* dy = nullptr;
  T* dtable = nullptr;
  int64_t count = 0, rows = 0, d = 0;
  int64_t padding = -1;
  int64_t frozen = 0;
  bool accumulate = false;
  void* workspace = nullptr;  // CUDA only: embedding_backward_workspace_bytes(), 16-byte aligned
};

namespace cpu {
template <class T>
void embedding_forward(const EmbeddingForward<T>&);
template <class T>
void embedding_backward(const EmbeddingBackward<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void embedding_forward(const EmbeddingForward<T>&, cudaStream_t);
template <class T>
void embedding_backward(const EmbeddingBackward<T>&, cudaStream_t);
template <class T>
int64_t embedding_backward_workspace_bytes(const EmbeddingBackward<T>&);
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const EmbeddingBackward<T>& arguments) {
  return cuda::embedding_backward_workspace_bytes(arguments);
}

}  // namespace flyball

#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

namespace flyball {

// loss = -1/rows * sum_i sum_j target[i,j] * log softmax(logits[i])[j]
// target[i,j] = (1 - label_smoothing) * [j == labels[i]] + label_smoothing / classes      (Szegedy
// 2016, arXiv:1512.00567) correct = number of rows whose first largest logit is at labels[i].
// dlogits = (softmax - target) / rows, in the same pass; null when no gradient is wanted.
// logits, dlogits: [rows, classes]; labels: [rows] in [0, classes); loss: [1]; correct: [1]. The
// loss is summed in f64 in an order that the shape decides. A label outside its range gives a NaN
// loss (a kernel cannot throw). dlogits may be logits.
template <class T>
struct SoftmaxCrossEntropy {
  const T* logits = nullptr;
  const int32_t* labels = nullptr;
  T* loss = nullptr;
  int32_t* correct = nullptr;
  T* dlogits = nullptr;
  int64_t rows = 0, classes = 0;
  double label_smoothing = 0;
  void* workspace = nullptr;  // CUDA only: softmax_cross_entropy_workspace_bytes(), 16-byte aligned
};

namespace cpu {
template <class T>
void softmax_cross_entropy(const SoftmaxCrossEntropy<T>&);
}

namespace cuda {
template <class T>
void softmax_cross_entropy(const SoftmaxCrossEntropy<T>&, cudaStream_t);
template <class T>
int64_t softmax_cross_entropy_workspace_bytes(const SoftmaxCrossEntropy<T>&);
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const SoftmaxCrossEntropy<T>& arguments) {
  return cuda::softmax_cross_entropy_workspace_bytes(arguments);
}

}  // namespace flyball

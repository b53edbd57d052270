#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda_stream.h"

namespace flyball {

// y (+)= keep(i) ? x / (1 - probability) : 0.   Srivastava et al. 2014, JMLR 15; "inverted"
// scaling. keep(i): word i % 4 of Philox4x32-10 with key `seed` and counter (i / 4, *step, layer)
// is at least probability * 2^32 (see kernels/philox.h). No mask is stored: the backward pass is
// the same call on dy with the same seed, layer and *step. `step` is in device memory, so a
// captured graph draws fresh masks. 0 <= probability < 1. y may be x unless accumulate. T: float
// or double; on CUDA bf16 too, computed in f32, with the masks of f32.
template <class T>
struct InvertedDropout {
  const T* x = nullptr;
  T* y = nullptr;
  int64_t count = 0;
  double probability = 0;
  uint64_t seed = 0;
  uint32_t layer = 0;
  const int64_t* step = nullptr;
  bool accumulate = false;
};

namespace cpu {
template <class T>
void dropout(const InvertedDropout<T>&);
}

namespace cuda {
template <class T>
void dropout(const InvertedDropout<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

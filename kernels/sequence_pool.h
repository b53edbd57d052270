#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

namespace flyball {

// kMean: the mean over a sequence's steps, kMax: the largest (NaN wins), kLast: the state after its
// last step, which is step 0 for columns that ran backwards in time.
enum class SequencePool : uint8_t { kMean, kMax, kLast };

// x: [time, batch, c], y: [batch, c], lengths: [batch] in device memory, or null where every
// sequence has all `time` steps; a length outside [0, time] counts as the nearer of the two. Steps
// past a length are not read. A sequence of length 0 gives 0.
struct SequencePoolShape {
  SequencePool kind = SequencePool::kMean;
  int64_t time = 0, batch = 0, c = 0;
  int64_t backward_columns = 0;  // kLast: the last so many columns ran backwards in time
};

// Sums in T, in the order of time. argmax: [batch, c], the first step that holds the largest
// element, -1 for length 0; written for kMax alone, null when no backward pass follows.
template <class T>
struct SequencePoolForward {
  const T* x = nullptr;
  const int32_t* lengths = nullptr;
  T* y = nullptr;
  int32_t* argmax = nullptr;
  SequencePoolShape shape;
};

// dx (+)= dy / length, or dy at the chosen step; 0 elsewhere and past each length.
template <class T>
struct SequencePoolBackward {
  const T* dy = nullptr;
  const int32_t* lengths = nullptr;
  const int32_t* argmax = nullptr;  // kMax alone
  T* dx = nullptr;
  SequencePoolShape shape;
  bool accumulate = false;
};

namespace cpu {
template <class T>
void sequence_pool_forward(const SequencePoolForward<T>&);
template <class T>
void sequence_pool_backward(const SequencePoolBackward<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void sequence_pool_forward(const SequencePoolForward<T>&, cudaStream_t);
template <class T>
void sequence_pool_backward(const SequencePoolBackward<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

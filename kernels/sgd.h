#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

#include "kernels/adam.h"

namespace flyball {

// One step of SGD with momentum for all parameters (Sutskever et al. 2013; PyTorch's form, no
// dampening):
//   g = clip * gradient + decay * weight_decay * p, non-finite gradient elements count as 0
//   momentum = mu * momentum + g;   p -= rate * momentum
// rate and action are read from feedback.state; a step whose loss is not finite changes nothing.
// kRollback: p = snapshot, momentum = 0, and this gradient is dropped, whatever the loss is;
// without a snapshot the weights stay. kSnapshot: snapshot = p before the update, unless the step
// is skipped. Where partial_sums is not null, an update writes <g, u>, |g|^2 and |u|^2 of each
// chunk there, u: the momentum of the step before. Sums: f32 lanes (f64 for T = double) over short
// blocks, then f64, in an order fixed by the segments alone. The rule is run afterwards, by the
// learning_rate kernel. Clipping as in Adam. values, gradients, momentum, snapshot: the arena;
// snapshot may be null for rules that never roll back. partial_sums: [3 * adam_chunks(segments)]
// f64.
template <class T>
struct SgdStep {
  T* values = nullptr;
  const T* gradients = nullptr;
  T* momentum = nullptr;
  T* snapshot = nullptr;
  const ParameterSegment* segments = nullptr;
  int64_t segment_count = 0;
  double mu = 0.9, weight_decay = 0;
  double clip_norm = 0;
  const double* gradient_norm_squared = nullptr;
  double* partial_sums = nullptr;
  StepFeedback<T> feedback;
};

namespace cpu {
template <class T>
void sgd(const SgdStep<T>&);
}

namespace cuda {
template <class T>
void sgd(const SgdStep<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

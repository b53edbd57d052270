#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

#include "kernels/adam.h"

namespace flyball {

// One step of SGD with momentum for all parameters (Sutskever et al. 2013; PyTorch's form, no
// dampening):
//   g = clip * gradient + decay * weight_decay * p, non-finite gradient elements count as 0
//   momentum = mu * momentum + g;   p -= rate * momentum
// rate is read from feedback.state; a step whose loss is not finite changes nothing. The rule is
// run afterwards, by the learning_rate kernel. Clipping as in Adam.
template <class T>
struct SgdStep {
  T* values = nullptr;
  const T* gradients = nullptr;
  T* momentum = nullptr;
  const ParameterSegment* segments = nullptr;
  int64_t segment_count = 0;
  double mu = 0.9, weight_decay = 0;
  double clip_norm = 0;
  const double* gradient_norm_squared = nullptr;
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

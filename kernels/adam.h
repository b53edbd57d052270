#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda_stream.h"

#include "kernels/learning_rate.h"

namespace flyball {

// Parameters [begin, end) of the flat arena; `decay`: whether weight decay applies (not to biases
// and norms).
struct ParameterSegment {
  int64_t begin = 0, end = 0;
  int64_t decay = 1;
};

// beta^t as running products, in device memory; both are 1 before the first step.
struct AdamPowers {
  double beta1_power = 1, beta2_power = 1;
};

// One step for all parameters (Kingma & Ba 2015, arXiv:1412.6980, Alg. 1; decoupled decay:
// Loshchilov & Hutter 2019, arXiv:1711.05101), the learning-rate rule included:
//   g = clip * gradient, non-finite elements count as 0
//   m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
//   p -= rate * decay * weight_decay * p + rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t)
//   + epsilon)
// rate and action are read from feedback.state. A step whose loss is not finite changes no weight,
// moment or power. kRollback: p = snapshot, m = v = 0, powers = 1, and this gradient is dropped.
// kSnapshot: snapshot = p before the update, unless the step is skipped. A roll-back happens
// whatever the loss is; without a snapshot the weights stay. With `sums`, signals gets <g, u>,
// |g|^2, |u|^2, where u = m_hat / (sqrt(v_hat) + epsilon) of the step before (0 when there is
// none), recomputed from m and v: no extra memory traffic. Sums: f32 lanes (f64 for T = double)
// over short blocks, then f64, in an order fixed by the segments alone; a skipped or rolled-back
// step gives 0. Then finish_step runs the rule. clip = min(1, clip_norm /
// sqrt(*gradient_norm_squared)) where clip_norm > 0 (a separate pass computes the norm). values,
// gradients, m, v, snapshot: the arena; snapshot may be null for rules that never roll back.
// partial_sums: scratch of 3 * adam_chunks(segments) f64.
template <class T>
struct AdamStep {
  T* values = nullptr;
  const T* gradients = nullptr;
  T* m = nullptr;
  T* v = nullptr;
  T* snapshot = nullptr;
  const ParameterSegment* segments = nullptr;
  int64_t segment_count = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  double clip_norm = 0;
  const double* gradient_norm_squared = nullptr;
  bool sums = false;
  double* partial_sums = nullptr;
  AdamPowers* powers = nullptr;
  uint32_t* arrivals = nullptr;  // CUDA only: counts blocks, 0 before and after
  StepFeedback<T> feedback;
};

inline constexpr int64_t kAdamChunk = 16384;  // elements a partial sum covers

// Number of chunks: each segment is cut on its own, the last chunk of a segment may be short.
inline int64_t adam_chunks(const ParameterSegment* segments, int64_t segment_count) {
  int64_t chunks = 0;
  for (int64_t i = 0; i < segment_count; ++i) {
    chunks += (segments[i].end - segments[i].begin + kAdamChunk - 1) / kAdamChunk;
  }
  return chunks;
}

// min(1, clip_norm / norm); 1 where the norm is 0.
FLYBALL_HOST_DEVICE inline double clip_factor(double clip_norm, double norm_squared) {
  const double factor = clip_norm / sqrt(norm_squared);
  return factor < 1 ? factor : 1;
}

namespace cpu {
template <class T>
void adam(const AdamStep<T>&);
}

namespace cuda {
template <class T>
void adam(const AdamStep<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

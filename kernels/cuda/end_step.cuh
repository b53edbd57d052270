#pragma once

#include <cstdint>

#include "kernels/learning_rate.h"

namespace flyball::cuda {

// The gradient sums of a step; without `known` those in the signals are left as they are.
struct GradientSums {
  bool known = false;
  double gu = 0, gg = 0, uu = 0;
};

// Fills the signals and runs finish_step on one thread. The block's first warp brings the rule's
// state to shared memory and back, so that its chain of dependent reads waits for memory once.
// Called by all threads of one block; `sums` counts in thread 0. Compiled with --fmad=false.
template <class T>
__device__ void end_step(const StepFeedback<T>& f, const GradientSums& sums) {
  constexpr int kWords = sizeof(LearningRateState) / sizeof(int64_t);
  static_assert(sizeof(LearningRateState) % sizeof(int64_t) == 0);
  __shared__ int64_t words[kWords];
  auto* in_memory = reinterpret_cast<int64_t*>(f.state);
  for (int i = threadIdx.x; i < kWords; i += blockDim.x) words[i] = in_memory[i];
  __syncthreads();  // the state is complete
  if (threadIdx.x == 0) {
    StepSignals signals = *f.signals;
    signals.loss = static_cast<double>(*f.loss);
    signals.correct_fraction = static_cast<double>(*f.correct) / static_cast<double>(f.rows);
    if (sums.known) {
      signals.gradient_dot_update = sums.gu;
      signals.gradient_norm_squared = sums.gg;
      signals.update_norm_squared = sums.uu;
    }
    finish_step(*reinterpret_cast<LearningRateState*>(words), signals, f.log, f.log_capacity);
    *f.signals = signals;
  }
  __syncthreads();  // the new state is complete
  for (int i = threadIdx.x; i < kWords; i += blockDim.x) in_memory[i] = words[i];
}

}  // namespace flyball::cuda

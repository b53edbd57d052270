#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

#include "schedulers/rules/learning_rate_state.h"

namespace flyball {

// Where a step's feedback comes from and what it drives; everything is in device memory.
// loss: [1] mean loss; correct: [1] number of right answers among `rows`; log: ring of log_capacity
// records, or null.
template <class T>
struct StepFeedback {
  const T* loss = nullptr;
  const int32_t* correct = nullptr;
  int64_t rows = 1;
  StepSignals* signals = nullptr;
  LearningRateState* state = nullptr;
  StepRecord* log = nullptr;
  int64_t log_capacity = 0;
};

// Fills signals.loss and signals.correct_fraction and runs finish_step: the end of a step for
// optimizers that do not run the rule themselves (SGD). The gradient sums are left as they are.
namespace cpu {
template <class T>
void learning_rate(const StepFeedback<T>&);
}

namespace cuda {
template <class T>
void learning_rate(const StepFeedback<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

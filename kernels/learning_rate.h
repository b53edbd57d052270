#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

#include "schedulers/rules/learning_rate_state.h"

namespace flyball {

// Where a step's feedback comes from and what it drives; everything is in device memory.
// loss: [1] mean loss; correct: [1] number of right answers among `rows`; log: ring of log_capacity
// records, or null. partial_sums: [3 * chunks] f64, <g, u>, |g|^2 and |u|^2 of each chunk of the
// arena, or null where the optimizer sets the sums of the signals itself, or the rule reads none.
template <class T>
struct StepFeedback {
  const T* loss = nullptr;
  const int32_t* correct = nullptr;
  int64_t rows = 1;
  StepSignals* signals = nullptr;
  LearningRateState* state = nullptr;
  StepRecord* log = nullptr;
  int64_t log_capacity = 0;
  const double* partial_sums = nullptr;
  int64_t chunks = 0;
};

// What a step does to the weights: a roll-back happens whatever the loss is, and a loss that is not
// finite changes nothing.
enum class StepCourse : int32_t { skip, update, roll_back };

template <class T>
FLYBALL_HOST_DEVICE StepCourse course_of(const StepFeedback<T>& f) {
  if (f.state->action == Action::kRollback) return StepCourse::roll_back;
  return is_finite(static_cast<double>(*f.loss)) ? StepCourse::update : StepCourse::skip;
}

// Fills signals.loss and signals.correct_fraction and runs finish_step: the end of a step for
// optimizers that do not run the rule themselves (SGD). The gradient sums are those of
// partial_sums, added in the order of the chunks, 0 after a step that is no update; without
// partial_sums they are left as they are.
namespace cpu {
template <class T>
void learning_rate(const StepFeedback<T>&);
}

namespace cuda {
template <class T>
void learning_rate(const StepFeedback<T>&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

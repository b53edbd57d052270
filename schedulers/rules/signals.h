#pragma once

#include <cstdint>

namespace flyball {

// Everything a learning-rate rule may read, in device memory. The optimizer's kernel fills it at
// the end of each step and then runs the rule, so no rule needs a value from the host.
struct StepSignals {
  int64_t step = 0;             // optimizer steps finished before this one; 0 at the first
  int64_t epoch = 0;            // step / steps_per_epoch
  int64_t steps_per_epoch = 1;  // at least 1
  int64_t total_steps = 0;      // planned length of the run; 0: unknown (horizon-free)

  double loss = 0;              // mean loss of this step's batch, unscaled
  double correct_fraction = 0;  // share of this step's batch that was classified correctly

  // g: this step's gradient, u: the previous step's update direction, sums over all parameters.
  double gradient_dot_update = 0;    // <g, u>
  double gradient_norm_squared = 0;  // |g|^2
  double update_norm_squared = 0;    // |u|^2

  // Latest evaluation on the validation split; `validations` counts them, so a rule sees a new one.
  double validation_loss = 0;
  double validation_accuracy = 0;
  int64_t validations = 0;
};

// What the optimizer does to the weights in the next step, besides the update.
enum class Action : int32_t {
  kNone = 0,
  kSnapshot = 1,  // keep a copy of the weights as they are before the update
  kRollback = 2,  // go back to the copy, forget the moments, drop this step's gradient
};

// A rule's answer: holds from the next step on.
struct RateDecision {
  double rate = 0;
  Action action = Action::kNone;
};

// One line of the step log, written on the device.
struct StepRecord {
  int64_t step = 0;
  double loss = 0;
  double correct_fraction = 0;
  double learning_rate = 0;       // the rate this step used
  Action action = Action::kNone;  // what this step did
  int32_t skipped = 0;            // 1: the loss was not finite, the weights did not change
};

}  // namespace flyball

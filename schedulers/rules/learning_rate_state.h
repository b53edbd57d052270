#pragma once

#include <cstdint>

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/rule.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// The learning rate as it lives in device memory. The optimizer's kernel reads rate and action at
// its start and calls finish_step at its end.
struct LearningRateState {
  double rate = 0;                // the rate of the coming step
  Action action = Action::kNone;  // what the coming step does besides the update
  int32_t reserved = 0;
  Rule rule;
};

// Ends one optimizer step, on one thread: logs it, runs the rule, and moves the counters on.
// `signals` holds this step's loss, correct fraction and sums. log[step % log_capacity] is written
// where log is not null.
FLYBALL_HOST_DEVICE inline void finish_step(LearningRateState& state, StepSignals& signals,
                                            StepRecord* log, int64_t log_capacity) {
  if (log != nullptr) {
    StepRecord& record = log[signals.step % log_capacity];
    record.step = signals.step;
    record.loss = signals.loss;
    record.correct_fraction = signals.correct_fraction;
    record.learning_rate = state.rate;
    record.action = state.action;
    record.skipped = is_finite(signals.loss) ? 0 : 1;
  }
  const RateDecision decision = update(state.rule, signals);
  state.rate = decision.rate;
  state.action = decision.action;
  signals.step += 1;
  signals.epoch = signals.step / signals.steps_per_epoch;
}

}  // namespace flyball

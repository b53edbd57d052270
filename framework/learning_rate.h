#pragma once

#include <cstdint>

#include "framework/tensor.h"
#include "schedulers/rules/learning_rate_state.h"

namespace flyball {

// How long a run is, for rules that anneal.
struct Horizon {
  int64_t steps_per_epoch = 1;
  int64_t total_steps = 0;  // 0: unknown
};

// A learning-rate rule with its state and its signals in device memory, and the ring that every
// finished step is written to. The optimizer's kernel reads the rate there and runs the rule there;
// the host only looks when it drains the log.
class LearningRate {
 public:
  static constexpr int64_t kLogCapacity = 1024;

  LearningRate(const Stream& stream, const Rule& rule, const Horizon& horizon = {});

  RuleKind kind() const { return kind_; }
  const double* rate() const { return &state_.get()->rate; }  // device pointers
  const int64_t* step() const { return &signals_.get()->step; }
  LearningRateState* state() const { return state_.get(); }
  StepSignals* signals() const { return signals_.get(); }
  StepRecord* log() const;

  // Hands rules the newest figures of the validation split; enqueued.
  void set_validation(const Stream& stream, double loss, double accuracy);

  // Copies for checkpoints and tests; the host waits.
  LearningRateState read_state(const Stream& stream) const { return state_.read(stream); }
  StepSignals read_signals(const Stream& stream) const { return signals_.read(stream); }
  void restore(const Stream& stream, const LearningRateState& state, const StepSignals& signals);

 private:
  RuleKind kind_;
  DeviceValue<LearningRateState> state_;
  DeviceValue<StepSignals> signals_;
  Tensor log_;  // bytes
  int64_t validations_ = 0;
};

}  // namespace flyball

#include "framework/learning_rate.h"

#include <cstddef>

#include "framework/run.h"

namespace flyball {
namespace {

LearningRateState first_state(const Rule& rule) {
  LearningRateState state;
  state.rule = rule;
  state.rate = first_rate(rule);
  return state;
}

StepSignals first_signals(const Horizon& horizon) {
  if (horizon.steps_per_epoch < 1 || horizon.total_steps < 0) {
    throw Error(str("learning rate: steps_per_epoch is ", horizon.steps_per_epoch,
                    " and total_steps ", horizon.total_steps,
                    ", expected at least 1 and at least 0"));
  }
  StepSignals signals;
  signals.steps_per_epoch = horizon.steps_per_epoch;
  signals.total_steps = horizon.total_steps;
  return signals;
}

}  // namespace

LearningRate::LearningRate(const Stream& stream, const Rule& rule, const Horizon& horizon)
    : kind_(rule.kind),
      state_(stream, first_state(rule)),
      signals_(stream, first_signals(horizon)),
      log_(Tensor::zeros(stream, {kLogCapacity * static_cast<int64_t>(sizeof(StepRecord))},
                         DType::u8)) {}

StepRecord* LearningRate::log() const {
  return const_cast<StepRecord*>(static_cast<const StepRecord*>(log_.raw()));
}

void LearningRate::set_validation(const Stream& stream, double loss, double accuracy) {
  struct Figures {
    double loss, accuracy;
    int64_t count;
  };
  static_assert(offsetof(StepSignals, validations) - offsetof(StepSignals, validation_loss) ==
                offsetof(Figures, count));
  const Figures figures{loss, accuracy, ++validations_};
  copy_to_device(stream, &signals_.get()->validation_loss, &figures, sizeof figures);
}

void LearningRate::restore(const Stream& stream, const LearningRateState& state,
                           const StepSignals& signals) {
  if (state.rule.kind != kind_)
    throw Error("learning rate: the saved state belongs to another rule");
  state_.set(stream, state);
  signals_.set(stream, signals);
  validations_ = signals.validations;
}

}  // namespace flyball

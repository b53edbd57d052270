#pragma once

#include <cstdint>

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/best_value.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// Multiplies the rate by `factor` when the metric was no better than its best for more than
// `patience` values in a row; `cooldown` values after a cut do not count. Not below min_lr, and not
// by less than eps. Same decisions as PyTorch's ReduceLROnPlateau for the same values, but one that
// is not finite never becomes the best.
//
// Lower is better: the metric is the loss; seeks_highest: the accuracy. It comes from the
// validation split, a value an evaluation, or with `watches_training` from the batches: a mean over
// `window` steps, or an epoch, of those whose loss is finite. A validation counts at the end of the
// first step after it, so the rate changes one step into the epoch.
struct PlateauRule : BestValue {
  double rate = 1e-3;
  double factor = 0.1;
  double min_lr = 0;
  double eps = 1e-8;
  double sum = 0;           // of the batches' values
  int64_t count = 0;        // ... and how many there are
  int64_t steps = 0;        // of the current window
  int64_t window = 0;       // steps; 0: an epoch
  int64_t validations = 0;  // seen so far
  int32_t patience = 10;
  int32_t cooldown = 0;
  int32_t cooling = 0;  // values that still do not count
  int32_t watches_training = 0;

  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) {
    double value = 0;
    const bool is_new =
        watches_training != 0 ? next_mean(signals, value) : next_validation(signals, value);
    if (is_new) judge(value);
    return {rate, Action::kNone};
  }

 private:
  FLYBALL_HOST_DEVICE bool next_validation(const StepSignals& signals, double& value) {
    if (signals.validations == validations) return false;
    validations = signals.validations;
    value = seeks_highest != 0 ? signals.validation_accuracy : signals.validation_loss;
    return true;
  }

  FLYBALL_HOST_DEVICE bool next_mean(const StepSignals& signals, double& value) {
    if (is_usable(signals.loss)) {
      sum += seeks_highest != 0 ? signals.correct_fraction : signals.loss;
      count += 1;
    }
    steps += 1;
    if (steps < (window > 0 ? window : signals.steps_per_epoch)) return false;
    value = sum / static_cast<double>(count);  // NaN where no loss was finite: not better
    sum = 0;
    count = 0;
    steps = 0;
    return true;
  }

  FLYBALL_HOST_DEVICE void judge(double value) {
    bad = improves(value) ? 0 : bad + 1;
    if (cooling > 0) {
      cooling -= 1;
      bad = 0;
    }
    if (bad <= patience) return;
    const double lower = larger(rate * factor, min_lr);
    if (rate - lower > eps) rate = lower;
    cooling = cooldown;
    bad = 0;
  }
};

}  // namespace flyball

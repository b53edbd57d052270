#pragma once

#include <cstdint>

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// rate_t = rate * decay^(t / steps), or to the power floor(t / steps) as a staircase.
// With as_epochs the schedule of a run of so many epochs is drawn out or squeezed to this one: t is
// replaced by t / total_steps * as_epochs * steps_per_epoch, where total_steps is known.
struct ExponentialRule {
  double rate = 1e-3;
  double decay = 0.96;
  double log2_decay = -0.05889368905356862;  // log2(decay)
  int64_t steps = 10000;
  int64_t as_epochs = 0;  // 0: as many as there are
  int32_t staircase = 0;
  int32_t reserved = 0;

  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) const {
    const bool scaled = as_epochs > 0 && signals.total_steps > 0;
    const int64_t coming =
        scaled ? (signals.step + 1) * as_epochs * signals.steps_per_epoch : signals.step + 1;
    const int64_t period = scaled ? signals.total_steps * steps : steps;
    if (staircase != 0) return {rate * integer_power(decay, coming / period), Action::kNone};
    const double periods = static_cast<double>(coming) / static_cast<double>(period);
    return {rate * power_of_two(larger(periods * log2_decay, kLowestPower)), Action::kNone};
  }

 private:
  static constexpr double kLowestPower = -2000;  // 2^-2000 is 0
};

}  // namespace flyball

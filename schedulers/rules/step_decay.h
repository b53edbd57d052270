#pragma once

#include <cstdint>

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// rate_t = rate * factor^floor(t / (every * steps_per_epoch)).
// With as_epochs the schedule of a run of so many epochs is drawn out or squeezed to this one:
// rate_t = rate * factor^floor(t / total_steps * as_epochs / every), where total_steps is known.
struct StepDecayRule {
  double rate = 1e-3;
  double factor = 0.1;
  int64_t every = 10;     // epochs
  int64_t as_epochs = 0;  // 0: as many as there are

  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) const {
    const int64_t coming = signals.step + 1;
    const bool scaled = as_epochs > 0 && signals.total_steps > 0;
    const int64_t decays = scaled ? coming * as_epochs / (signals.total_steps * every)
                                  : coming / (signals.steps_per_epoch * every);
    return {rate * integer_power(factor, decays), Action::kNone};
  }
};

}  // namespace flyball

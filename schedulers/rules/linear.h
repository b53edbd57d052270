#pragma once

#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// rate_t = rate * max(0, 1 - t / total_steps); constant where total_steps is unknown (0).
struct LinearRule {
  double rate = 1e-3;
  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) const {
    if (signals.total_steps <= 0) return {rate, Action::kNone};
    const double done =
        static_cast<double>(signals.step + 1) / static_cast<double>(signals.total_steps);
    return {done < 1 ? rate * (1 - done) : 0, Action::kNone};
  }
};

}  // namespace flyball

#pragma once

#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// rate_t = rate
struct ConstantRule {
  double rate = 1e-3;
  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals&) const {
    return {rate, Action::kNone};
  }
};

}  // namespace flyball

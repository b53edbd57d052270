#pragma once

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// rate_t = min_lr + (rate - min_lr) (1 + cos(pi t / total_steps)) / 2, min_lr from total_steps on;
// constant where total_steps is unknown. Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5, without
// restarts.
struct CosineRule {
  double rate = 1e-3;
  double min_lr = 0;

  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) const {
    if (signals.total_steps <= 0) return {rate, Action::kNone};
    const double done =
        static_cast<double>(signals.step + 1) / static_cast<double>(signals.total_steps);
    const double share = (1 + cosine_of_pi(smaller(done, 1))) / 2;
    return {min_lr + (rate - min_lr) * share, Action::kNone};
  }
};

}  // namespace flyball

#pragma once

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// From max_lr / div_factor up to max_lr at step pct_start T - 1, then down to
// max_lr / (div_factor final_div_factor) at step T - 1, both along half a cosine; T: total_steps.
// Smith & Topin 2018, arXiv:1708.07120, in the form of PyTorch's OneCycleLR with two phases,
// without its cycle of the momentum. The last rate holds after the end; where T is unknown the
// rates after the first are max_lr.
struct OneCycleRule {
  double max_lr = 1e-3;
  double pct_start = 0.3;
  double div_factor = 25;
  double final_div_factor = 1e4;

  FLYBALL_HOST_DEVICE double first_rate() const { return max_lr / div_factor; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) const {
    if (signals.total_steps <= 0) return {max_lr, Action::kNone};
    const auto total = static_cast<double>(signals.total_steps);
    const auto coming = static_cast<double>(signals.step + 1);
    const double top = pct_start * total - 1;
    if (coming <= top) return {between(first_rate(), max_lr, coming / top), Action::kNone};
    const double done = smaller((coming - top) / (total - 1 - top), 1);
    return {between(max_lr, first_rate() / final_div_factor, done), Action::kNone};
  }

 private:
  FLYBALL_HOST_DEVICE static double between(double from, double to, double share) {
    return to + (from - to) / 2 * (1 + cosine_of_pi(share));
  }
};

}  // namespace flyball

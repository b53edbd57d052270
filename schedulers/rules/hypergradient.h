#pragma once

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// rate_{t+1} = clip(rate_t + beta <g_t, u_{t-1}>, min_lr, max_lr): gradient descent on the rate,
// because -<g_t, u_{t-1}> is the derivative of the loss by the rate of the step before. Baydin et
// al. 2018, arXiv:1703.04782, Adam-HD, and with SGD the same with momentum, but the new rate
// holds from the next step on and is kept in a range, without which it can become negative. A step
// with a loss or a product that is not finite changes nothing.
struct HypergradientRule {
  double rate = 1e-3;
  double beta = 1e-7;
  double min_lr = 0;
  double max_lr = 1;

  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) {
    if (is_usable(signals.loss) && is_usable(signals.gradient_dot_update)) {
      rate = clipped(rate + beta * signals.gradient_dot_update, min_lr, max_lr);
    }
    return {rate, Action::kNone};
  }
};

}  // namespace flyball

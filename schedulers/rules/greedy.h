#pragma once

#include <cstdint>

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/best_value.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/signals.h"

namespace flyball {

// GreedyLR (arXiv:2512.14527), stepped with every batch's loss: the mean of the last `window`
// losses, better than its best for more than `patience` steps in a row, divides the rate by
// `factor`; no better for more than `patience` steps multiplies it; both within [min_lr, max_lr]
// and by more than eps. After a rise `hold` steps, after a cut `cooldown` steps do not count. After
// `reset_start` cuts in a row that found the rate at min_lr everything starts again.
//
// Losses that are not finite are left out. The window's sum is taken anew each time the window is
// full, so that roundings of a huge loss that has left it do not stay.
struct GreedyRule : BestValue {
  static constexpr int32_t kLargestWindow = 50;

  double rate = 1e-3;
  double start = 1e-3;  // the rate a reset goes back to
  double factor = 0.95;
  double min_lr = 1e-3;
  double max_lr = 1;
  double eps = 1e-8;
  double sum = 0;
  double losses[kLargestWindow] = {};  // the latest, in a ring
  int32_t window = kLargestWindow;
  int32_t filled = 0;  // losses in the ring
  int32_t next = 0;    // where the coming one goes
  int32_t patience = 10;
  int32_t cooldown = 0, hold = 0;
  int32_t resting = 0;  // steps that still do not count
  int32_t good = 0;
  int32_t reset_start = 500;
  int32_t cuts_at_minimum = 0;

  FLYBALL_HOST_DEVICE GreedyRule() {
    threshold = 1e-6;
    relative = 0;
  }

  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }
  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) {
    if (is_usable(signals.loss)) judge(mean_with(signals.loss));
    return {rate, Action::kNone};
  }

 private:
  FLYBALL_HOST_DEVICE double mean_with(double loss) {
    sum += loss;
    if (filled == window) {
      sum -= losses[next];
    } else {
      filled += 1;
    }
    losses[next] = loss;
    next += 1;
    if (next == window) {
      next = 0;
      sum = 0;
      for (int32_t i = 0; i < window; ++i) sum += losses[i];
    }
    return sum / filled;
  }

  FLYBALL_HOST_DEVICE void judge(double value) {
    if (resting > 0) {
      resting -= 1;
      bad = 0;
      good = 0;
      return;
    }
    const bool better = improves(value);
    good = better ? good + 1 : 0;
    bad = better ? 0 : bad + 1;
    if (good > patience) {
      raise();
    } else if (bad > patience) {
      cut();
    }
  }

  FLYBALL_HOST_DEVICE void raise() {
    const double higher = smaller(rate / factor, max_lr);
    if (higher - rate > eps) rate = higher;
    cuts_at_minimum = 0;
    resting = hold;
    good = 0;
  }

  FLYBALL_HOST_DEVICE void cut() {
    const double lower = larger(rate * factor, min_lr);
    if (rate - lower > eps) rate = lower;
    resting = cooldown;
    bad = 0;
    if (rate > min_lr) return;
    cuts_at_minimum += 1;
    if (cuts_at_minimum >= reset_start) reset();
  }

  FLYBALL_HOST_DEVICE void reset() {
    rate = start;
    has_best = 0;
    filled = next = 0;
    sum = 0;
    cuts_at_minimum = 0;
  }
};

static_assert(sizeof(GreedyRule) == sizeof(BestValue) +
                                        (7 + GreedyRule::kLargestWindow) * sizeof(double) +
                                        10 * sizeof(int32_t),
              "no padding");

}  // namespace flyball

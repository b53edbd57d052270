#pragma once

#include <cstdint>

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"

namespace flyball {

// The best value of a metric so far, and whether a new one is better by more than a threshold:
//   value < best (1 - threshold)   lower is better, relative
//   value < best - threshold       lower is better, absolute; both mirrored where higher is better
// The first finite value is the best; one that is not finite is never better.
struct BestValue {
  double best = 0;
  double threshold = 1e-4;
  int32_t relative = 1;
  int32_t seeks_highest = 0;
  int32_t has_best = 0;
  int32_t bad = 0;  // values in a row that were not better, for the owner to count

  FLYBALL_HOST_DEVICE bool improves(double value) {
    if (!is_finite(value)) return false;
    if (has_best != 0 && !is_better(value)) return false;
    best = value;
    has_best = 1;
    return true;
  }

 private:
  FLYBALL_HOST_DEVICE bool is_better(double value) const {
    if (seeks_highest != 0) {
      return value > (relative != 0 ? best * (1 + threshold) : best + threshold);
    }
    return value < (relative != 0 ? best * (1 - threshold) : best - threshold);
  }
};

}  // namespace flyball

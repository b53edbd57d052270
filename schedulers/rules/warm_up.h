#pragma once

#include <cstdint>

#include "schedulers/rules/host_device.h"

namespace flyball {

// A linear rise in front of any rule: for W steps the rate is
//   rate_t = rule's first rate * (start + (1 - start) t / W),   t < W
// as PyTorch's LinearLR in a SequentialLR. The rule starts at step W and sees the run without the
// warm-up: steps counted from there, W fewer in total.
struct WarmUp {
  double share = 0;   // W as a share of the total steps, at least one step; used where it is not 0
  int64_t steps = 0;  // W; 0: none
  double start = 0.01;

  // W; a share of an unknown total is one step.
  FLYBALL_HOST_DEVICE int64_t length(int64_t total_steps) const {
    if (share <= 0) return steps;
    const double exact = share * static_cast<double>(total_steps);
    const auto whole = static_cast<int64_t>(exact);
    const int64_t nearest = exact - static_cast<double>(whole) < 0.5 ? whole : whole + 1;
    return nearest > 1 ? nearest : 1;
  }

  // Step t of W; exactly 1 at t = W.
  FLYBALL_HOST_DEVICE double factor(int64_t t, int64_t length) const {
    return 1 - (1 - start) * static_cast<double>(length - t) / static_cast<double>(length);
  }

  FLYBALL_HOST_DEVICE double first_factor() const { return share > 0 || steps > 0 ? start : 1; }
};

}  // namespace flyball

#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/sgd.h"

// The step of kernels/sgd.h, one parameter at a time in double.
namespace flyball::reference {

inline void sgd(const SgdStep<double>& a) {
  if (!std::isfinite(*a.feedback.loss)) return;
  double clip = 1;
  if (a.clip_norm > 0) clip = std::min(1.0, a.clip_norm / std::sqrt(*a.gradient_norm_squared));
  for (int64_t s = 0; s < a.segment_count; ++s) {
    for (int64_t i = a.segments[s].begin; i < a.segments[s].end; ++i) {
      const double decay = a.segments[s].decay != 0 ? a.weight_decay : 0;
      const double gradient = std::isfinite(a.gradients[i]) ? clip * a.gradients[i] : 0;
      const double g = gradient + decay * a.values[i];
      a.momentum[i] = a.mu * a.momentum[i] + g;
      a.values[i] -= a.feedback.state->rate * a.momentum[i];
    }
  }
}

}  // namespace flyball::reference

#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/sgd.h"

// The step of kernels/sgd.h, one parameter at a time in double, and the rule after it.
namespace flyball::reference {

// `sums` gets <g, u>, |g|^2 and |u|^2.
inline void sgd(const SgdStep<double>& a, StepSignals& sums) {
  const Action action = a.feedback.state->action;
  const bool roll_back = action == Action::kRollback;
  if (!roll_back && !std::isfinite(*a.feedback.loss)) return;
  double clip = 1;
  if (a.clip_norm > 0) clip = std::min(1.0, a.clip_norm / std::sqrt(*a.gradient_norm_squared));
  for (int64_t s = 0; s < a.segment_count; ++s) {
    const ParameterSegment& segment = a.segments[s];
    for (int64_t i = segment.begin; i < segment.end; ++i) {
      double& p = a.values[i];
      double& momentum = a.momentum[i];
      if (roll_back) {
        if (a.snapshot != nullptr) p = a.snapshot[i];
        momentum = 0;
        continue;
      }
      if (action == Action::kSnapshot && a.snapshot != nullptr) a.snapshot[i] = p;
      const double decay = segment.decay != 0 ? a.weight_decay : 0;
      const double gradient = std::isfinite(a.gradients[i]) ? clip * a.gradients[i] : 0;
      const double g = gradient + decay * p;
      sums.gradient_dot_update += g * momentum;
      sums.gradient_norm_squared += g * g;
      sums.update_norm_squared += momentum * momentum;
      momentum = a.mu * momentum + g;
      p -= a.feedback.state->rate * momentum;
    }
  }
}

inline void sgd(const SgdStep<double>& a) {
  StepSignals none;
  sgd(a, none);
}

inline void sgd_and_rule(const SgdStep<double>& a) {
  StepSignals sums, &signals = *a.feedback.signals;
  sgd(a, sums);
  signals.gradient_dot_update = sums.gradient_dot_update;
  signals.gradient_norm_squared = sums.gradient_norm_squared;
  signals.update_norm_squared = sums.update_norm_squared;
  signals.loss = *a.feedback.loss;
  signals.correct_fraction =
      static_cast<double>(*a.feedback.correct) / static_cast<double>(a.feedback.rows);
  finish_step(*a.feedback.state, signals, a.feedback.log, a.feedback.log_capacity);
}

}  // namespace flyball::reference

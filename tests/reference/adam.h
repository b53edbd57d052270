#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/adam.h"

// The step of kernels/adam.h, one parameter at a time in double.
namespace flyball::reference {

inline void adam(const AdamStep<double>& a) {
  const StepFeedback<double>& feedback = a.feedback;
  StepSignals& signals = *feedback.signals;
  LearningRateState& state = *feedback.state;
  const bool roll_back = state.action == Action::kRollback;
  const bool update = !roll_back && std::isfinite(*feedback.loss);
  const double old_power1 = a.powers->beta1_power;
  const double old_power2 = a.powers->beta2_power;
  const double power1 = old_power1 * a.beta1;
  const double power2 = old_power2 * a.beta2;
  double clip = 1;
  if (a.clip_norm > 0) clip = std::min(1.0, a.clip_norm / std::sqrt(*a.gradient_norm_squared));

  double gu = 0, gg = 0, uu = 0;
  for (int64_t s = 0; s < a.segment_count; ++s) {
    for (int64_t i = a.segments[s].begin; i < a.segments[s].end; ++i) {
      double& p = a.values[i];
      double& m = a.m[i];
      double& v = a.v[i];
      if (roll_back) {
        if (a.snapshot != nullptr) p = a.snapshot[i];
        m = 0;
        v = 0;
      }
      if (!update) continue;
      if (state.action == Action::kSnapshot && a.snapshot != nullptr) a.snapshot[i] = p;
      const double g = std::isfinite(a.gradients[i]) ? clip * a.gradients[i] : 0;
      double u = 0;
      if (old_power1 < 1) {
        u = m / (1 - old_power1) / (std::sqrt(v / (1 - old_power2)) + a.epsilon);
      }
      gu += g * u;
      gg += g * g;
      uu += u * u;
      m = a.beta1 * m + (1 - a.beta1) * g;
      v = a.beta2 * v + (1 - a.beta2) * g * g;
      const double decay = a.segments[s].decay != 0 ? a.weight_decay : 0;
      const double direction = m / (1 - power1) / (std::sqrt(v / (1 - power2)) + a.epsilon);
      p -= state.rate * decay * p + state.rate * direction;
    }
  }
  if (update) *a.powers = {power1, power2};
  if (roll_back) *a.powers = {1, 1};
  if (a.sums) {
    signals.gradient_dot_update = gu;
    signals.gradient_norm_squared = gg;
    signals.update_norm_squared = uu;
  }
  signals.loss = *feedback.loss;
  signals.correct_fraction =
      static_cast<double>(*feedback.correct) / static_cast<double>(feedback.rows);
  finish_step(state, signals, feedback.log, feedback.log_capacity);
}

}  // namespace flyball::reference

#pragma once

#include <cstdint>

#include "schedulers/rules/adaptive_options.h"
#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/running_statistics.h"
#include "schedulers/rules/signals.h"

namespace flyball::adaptive {

// A learning rate that finds its own size; schedulers/README.md has the maths and measurements.
//
// Probe: from a low start the rate rises by 10^(1/20) a step until the cosine of <g_t, u_{t-1}>
// falls to half of its highest value (the curvature test of the strong Wolfe conditions) or the
// loss rises. That fixes the peak.
//
// Run: rate = amplitude * (1 - f), f: share of the steps after the probe that is done; without a
// horizon the amplitude alone. It grows early in the run, while the cosine is significantly
// positive or the loss falls significantly, and is cut when the loss rises, without a horizon also
// when the loss stays.
//
// Guard: an exploding loss, or several in a row that are not finite, go back to the snapshot with a
// fifth of the rate.
//
// It asks for no rate. Horizon and window are fixed at the first finite loss.
struct AdaptiveRule {
  AdaptiveOptions options;

  double rate = 1e-4;    // the rate of the coming step
  double amplitude = 0;  // the rate before annealing
  double peak = 0;       // the amplitude the probe found
  double first_loss = 0;
  double probe_best = kLargestLoss;  // lowest fast mean of the loss in the probe
  double run_best = kLargestLoss;    // ... after it
  double highest_cosine = 0;
  LossStatistics loss;
  CosineStatistics cosine;
  WindowStatistics growth_window;  // cosines
  WindowStatistics loss_window;    // losses
  double spared_amplitude = 0;  // what to return to if one batch exploded and not the run; 0: none
  double previous_mean = 0, previous_variance = 0;  // of the loss window before

  int64_t steps = 0;    // updates since the first finite loss; 0 at that one
  int64_t horizon = 0;  // steps from there to the end of the run; 0: unknown
  int64_t window = 0;
  int64_t probe_limit = 0;
  int64_t probe_end = 0;     // `steps` when the probe ended
  int64_t snapshot_age = 0;  // healthy steps since the last snapshot

  Phase phase = Phase::kWaiting;
  Action last_action = Action::kNone;  // what the step that just ended did
  int32_t ramp_strides = 1;            // ramp factors a step below the customary rate
  int32_t bad_in_a_row = 0;
  int32_t settling = 0;      // steps until the guard works again
  int32_t cooldown = 0;      // steps until the next cut
  int32_t abandoned = 0;     // losses to come from weights that a rollback throws away
  int32_t flat_windows = 0;  // loss windows in a row without a significant fall
  int32_t has_previous_window = 0;
  int32_t has_snapshot = 0;
  int32_t wants_snapshot = 0;                    // a snapshot is due at the next finite loss
  int32_t growths = 0, cuts = 0, rollbacks = 0;  // how often
  int32_t has_new_snapshot = 0;                  // one was taken since the last explosion
  int32_t unsettled_windows = 0;  // loss windows to come whose fall may be the end of a rise

  FLYBALL_HOST_DEVICE double first_rate() const { return rate; }

  FLYBALL_HOST_DEVICE RateDecision update(const StepSignals& signals) {
    note_last_action(signals);
    const double single = watched_loss(signals);
    const bool usable = is_usable(single) && is_usable(signals.gradient_norm_squared);
    if (phase == Phase::kWaiting) {
      if (!usable) return {rate, Action::kNone};
      start(signals, single);
    }
    Action action = Action::kNone;
    if (abandoned > 0) {
      abandoned -= 1;
      forgive(single, usable);
    } else {
      action = judge(signals, single, usable);
    }
    if (phase == Phase::kRun) anneal();
    steps += 1;
    last_action = resolve(action, usable);
    return {rate, last_action};
  }

  // For a resume that brings back the weights but not the optimizer's copy of them.
  void request_snapshot() {
    has_snapshot = 0;
    wants_snapshot = 1;
  }

 private:
  // The batch's loss, and its share of wrong answers where that is to count too.
  FLYBALL_HOST_DEVICE double watched_loss(const StepSignals& signals) const {
    return signals.loss + options.accuracy_weight * (1 - signals.correct_fraction);
  }

  // c = <g, u> / (|g| |u|), in [-1, 1]; 0 where it is not defined.
  FLYBALL_HOST_DEVICE static double cosine_of(const StepSignals& signals) {
    const double product = signals.gradient_norm_squared * signals.update_norm_squared;
    if (!(product > 0)) return 0;
    const double value = signals.gradient_dot_update / square_root(product);
    return value == value ? clipped(value, -1, 1) : 0;
  }

  FLYBALL_HOST_DEVICE void start(const StepSignals& signals, double single) {
    first_loss = single;
    wants_snapshot = 1;
    phase = Phase::kProbe;
    const bool has_horizon = signals.total_steps > 0 && options.horizon_free == 0;
    if (has_horizon) horizon = signals.total_steps - signals.step;
    if (has_horizon && horizon < 1) horizon = 1;
    window = options.window;
    if (window <= 0 && horizon > 0) {
      window = clipped_count(horizon / kWindowsInRun, kWindowMin, kWindowMax);
    } else if (window <= 0) {
      window = clipped_count(signals.steps_per_epoch / kWindowsInEpoch, kEpochWindowMin,
                             kEpochWindowMax);
    }
    plan_probe();
  }

  // The ramp takes 20 steps a decade. Where half of the run is too short for it to reach the
  // customary rate, it takes several factors a step up to there.
  FLYBALL_HOST_DEVICE void plan_probe() {
    probe_limit = options.probe_limit;
    if (horizon > 0 && probe_limit > horizon / kShortestProbeShare) {
      probe_limit = horizon / kShortestProbeShare;
    }
    int64_t factors = 0;
    double reached = rate;
    while (reached < kCustomaryRate) {
      reached *= kRampFactor;
      factors += 1;
    }
    const int64_t ramp_steps = probe_limit > 1 ? probe_limit : 1;
    ramp_strides = static_cast<int32_t>((factors + ramp_steps - 1) / ramp_steps);
    if (ramp_strides < 1) ramp_strides = 1;
  }

  FLYBALL_HOST_DEVICE static int64_t clipped_count(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
  }

  // One step's evidence; the action asked for.
  FLYBALL_HOST_DEVICE Action judge(const StepSignals& signals, double single, bool usable) {
    const double c = usable ? cosine_of(signals) : 0;
    bad_in_a_row = usable ? 0 : bad_in_a_row + 1;
    if (usable) loss.observe(single, steps >= kOutlierStart, settling > 0);
    Action action = Action::kNone;
    if (phase == Phase::kProbe) {
      action = probe(usable, usable && signals.update_norm_squared > 0, c);
    } else {
      if (options.guarded != 0) action = guard(single, usable);
      if (cooldown > 0) cooldown -= 1;
      if (options.grows != 0 && action != Action::kRollback) grow(c);
      if (options.guarded != 0 && action != Action::kRollback) cut_on_rise();
    }
    if (phase == Phase::kRun && usable && (horizon == 0 || steps > probe_end)) {
      compare_windows(single);
    }
    return action;
  }

  // Raises the rate until the cosine halves, the loss rises, or a limit is met.
  FLYBALL_HOST_DEVICE Action probe(bool usable, bool has_cosine, double c) {
    if (!usable) {
      if (bad_in_a_row < options.bad_losses_in_probe) return Action::kNone;
      end_probe(options.retreat);
      return Action::kRollback;
    }
    if (has_cosine) cosine.observe(c);
    const double error = cosine.standard_error();
    if (steps >= kFirstCosine) highest_cosine = larger(highest_cosine, cosine.mean() - error);
    if (steps >= kFirstBest) probe_best = smaller(probe_best, loss.fast());
    const bool decides = steps >= kFirstDecision;
    const bool rose = decides && loss.fast() > probe_best + probe_rise();
    const bool halved = decides && cosine.mean() + error < options.curvature_share * highest_cosine;
    if (rose || halved || rate >= options.max_rate || steps >= probe_limit) {
      end_probe(rose ? options.retreat : options.overshoot);
      return rose && loss.fast() > first_loss ? Action::kRollback : Action::kSnapshot;
    }
    if (steps >= options.ramp_delay) ramp();
    return Action::kNone;
  }

  // max(0.15 (L0 - best), 0.05 |best| + 3 deviations of the fast mean)
  FLYBALL_HOST_DEVICE double probe_rise() const {
    return larger(
        kProbeRiseOfFall * (first_loss - probe_best),
        kProbeRiseOfBest * magnitude(probe_best) + kProbeRiseDeviations * loss.fast_deviation());
  }

  FLYBALL_HOST_DEVICE void ramp() {
    const int32_t factors = rate < kCustomaryRate ? ramp_strides : 1;
    for (int32_t i = 0; i < factors; ++i) rate *= kRampFactor;
    rate = smaller(rate, options.max_rate);
  }

  FLYBALL_HOST_DEVICE void end_probe(double factor) {
    peak = smaller(rate * factor, options.max_rate);
    amplitude = smaller(peak, target());
    phase = Phase::kRun;
    probe_end = steps;
    bad_in_a_row = 0;
  }

  // The loss exploded: fast mean > slow + max(0.1 L0, slow, 8 deviations), or
  // one loss > slow + max(0.25 L0, 3 slow, 20 deviations).
  FLYBALL_HOST_DEVICE bool exploded(double single) const {
    if (loss.slow_weight <= kGuardWeight || settling > 0) return false;
    const double slow = loss.slow(), first = magnitude(first_loss);
    const double mean_rise = larger(
        kMeanRiseOfFirst * first,
        larger(kMeanRiseOfSlow * magnitude(slow), kMeanRiseDeviations * loss.fast_deviation()));
    const double single_rise = larger(
        kSingleRiseOfFirst * first,
        larger(kSingleRiseOfSlow * magnitude(slow), kSingleRiseDeviations * loss.deviation()));
    return loss.fast() > slow + options.guard_slack * mean_rise ||
           single > slow + options.guard_slack * single_rise;
  }

  FLYBALL_HOST_DEVICE Action guard(double single, bool usable) {
    if (settling > 0) settling -= 1;
    if (bad_in_a_row >= options.bad_losses || (usable && exploded(single))) {
      spared_amplitude = usable && has_new_snapshot ? amplitude : 0;
      has_new_snapshot = 0;
      amplitude *= options.retreat;
      rollbacks += 1;
      bad_in_a_row = 0;
      settling = kSettleSteps;
      cooldown = static_cast<int32_t>(window);
      snapshot_age = 0;
      loss.restart_fast();
      unsettled_windows = kUnsettledWindows;
      return Action::kRollback;
    }
    if (!usable) return Action::kNone;
    run_best = smaller(run_best, loss.fast());
    snapshot_age += 1;
    return snapshot_age >= kSnapshotWindows * window && is_healthy(single) ? Action::kSnapshot
                                                                           : Action::kNone;
  }

  // The loss of the step that goes back still comes from the weights that are thrown away. Where it
  // is calm, the explosion was that batch and not the rate, which is given back; at most once per
  // new snapshot, so that a rate that really is too high comes down.
  FLYBALL_HOST_DEVICE void forgive(double single, bool usable) {
    if (spared_amplitude > 0 && usable && is_calm(single)) amplitude = spared_amplitude;
    spared_amplitude = 0;
  }

  FLYBALL_HOST_DEVICE bool is_calm(double single) const {
    return single <= loss.slow() + kCalmDeviations * loss.deviation();
  }

  FLYBALL_HOST_DEVICE bool is_healthy(double single) const {
    return loss.fast() <= run_best + kSnapshotRise * magnitude(run_best) +
                              kSnapshotDeviations * loss.fast_deviation() &&
           is_calm(single);
  }

  // f = steps after the probe / steps from there to the end
  FLYBALL_HOST_DEVICE double share_done() const {
    const int64_t remaining = horizon - probe_end;
    return static_cast<double>(steps - probe_end) /
           static_cast<double>(remaining > 1 ? remaining : 1);
  }

  // Grows on evidence only: a mean cosine > 2 standard errors over half a window to two windows.
  FLYBALL_HOST_DEVICE void grow(double c) {
    if (!may_grow()) return;
    growth_window.observe(c);
    if (growth_window.count < window / 2) return;
    const double variance = larger(kCosineVarianceMin, growth_window.variance());
    const double error = square_root(variance / static_cast<double>(growth_window.count));
    const bool significant = growth_window.mean() > kGrowthDeviations * error;
    if (significant && amplitude < options.max_rate && amplitude < options.growth_limit * peak) {
      amplitude = smaller(amplitude * options.growth, options.max_rate);
      growths += 1;
      growth_window.clear();
    } else if (growth_window.count >= kGrowthWindowsMax * window) {
      growth_window.clear();
    }
  }

  // Cuts when the loss rises: fast mean > slow + max(0.05 L0, 0.25 slow, 4 deviations).
  FLYBALL_HOST_DEVICE void cut_on_rise() {
    if (cooldown > 0 || steps <= probe_end + window) return;
    const double slow = loss.slow();
    const double rise = larger(
        kCutRiseOfFirst * magnitude(first_loss),
        larger(kCutRiseOfSlow * magnitude(slow), kCutRiseDeviations * loss.fast_deviation()));
    if (!(loss.fast() > slow + options.guard_slack * rise)) return;
    amplitude *= options.cut;
    cuts += 1;
    cooldown = static_cast<int32_t>(window);
    unsettled_windows = kUnsettledWindows;
  }

  // fall = previous mean - mean of the loss over a window, its error = sqrt((variance + previous
  // variance) / window). Grows where the fall is above two errors. Without a horizon: cuts where it
  // is not above one, twice in a row.
  FLYBALL_HOST_DEVICE void compare_windows(double single) {
    loss_window.observe(single);
    if (loss_window.count < window) return;
    const double mean = loss_window.mean(), variance = larger(0, loss_window.variance());
    const double error = square_root((variance + previous_variance) / static_cast<double>(window));
    if (has_previous_window) {
      const double fall = previous_mean - mean;
      const bool falls = fall > kFallDeviations * error && unsettled_windows == 0;
      if (falls && options.grows != 0 && may_grow() && target() > peak) {
        grow_to(smaller(target(), options.max_rate));
      }
      if (horizon == 0) flat_windows = fall <= kPlateauDeviations * error ? flat_windows + 1 : 0;
    }
    if (flat_windows >= kPlateauWindows) {
      amplitude *= options.cut;
      cuts += 1;
      flat_windows = 0;
    }
    if (unsettled_windows > 0) unsettled_windows -= 1;
    previous_mean = mean;
    previous_variance = variance;
    has_previous_window = 1;
    loss_window.clear();
  }

  // The amplitude for a run of this length, peak * sqrt(reference_steps / T), at most fall_limit
  // times the peak.
  FLYBALL_HOST_DEVICE double target() const {
    if (horizon == 0 || options.reference_steps <= 0) return peak;
    const double share = options.reference_steps / static_cast<double>(horizon);
    return peak * smaller(square_root(share), options.fall_limit);
  }

  FLYBALL_HOST_DEVICE bool may_grow() const {
    return horizon == 0 || share_done() < options.growth_until;
  }

  FLYBALL_HOST_DEVICE void grow_to(double limit) {
    if (amplitude >= limit) return;
    amplitude = smaller(amplitude * options.growth, limit);
    growths += 1;
  }

  FLYBALL_HOST_DEVICE void anneal() {
    const double left = horizon > 0 ? larger(0, 1 - share_done()) : 1;
    rate = smaller(amplitude, options.max_rate) * left;
  }

  // A snapshot that fell on a skipped step is due again.
  FLYBALL_HOST_DEVICE void note_last_action(const StepSignals& signals) {
    if (last_action != Action::kSnapshot) return;
    if (signals.loss - signals.loss == 0) {
      has_snapshot = 1;
      has_new_snapshot = 1;
    } else {
      wants_snapshot = 1;
    }
  }

  // What is asked of the coming step: no rollback without a snapshot, and a snapshot that is due.
  FLYBALL_HOST_DEVICE Action resolve(Action action, bool usable) {
    if (action == Action::kRollback) {
      if (!has_snapshot) return Action::kNone;
      abandoned = options.rollback_lag;
      return Action::kRollback;
    }
    if (action == Action::kNone && !(wants_snapshot && usable && abandoned == 0))
      return Action::kNone;
    wants_snapshot = 0;
    snapshot_age = 0;
    return Action::kSnapshot;
  }
};

static_assert(sizeof(AdaptiveRule) == sizeof(AdaptiveOptions) + 23 * sizeof(double) +
                                          8 * sizeof(int64_t) + 16 * sizeof(int32_t),
              "no padding");

inline AdaptiveRule make_adaptive(const AdaptiveOptions& options = {}) {
  AdaptiveRule rule;
  rule.options = options;
  rule.rate = options.start;
  return rule;
}

}  // namespace flyball::adaptive

namespace flyball {
using adaptive::AdaptiveOptions;
using adaptive::AdaptiveRule;
using adaptive::make_adaptive;
}  // namespace flyball

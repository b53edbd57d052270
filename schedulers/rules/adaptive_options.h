#pragma once

#include <cstdint>

namespace flyball::adaptive {

// The choices of the adaptive rule; the defaults are meant for every task.
struct AdaptiveOptions {
  double start = 1e-4;           // the first rate: too low to harm
  double max_rate = 0.3;         // no rate is ever above this
  double curvature_share = 0.5;  // the probe ends where the cosine is below this share of its peak
  double overshoot = 1.4;        // amplitude / rate at the end of a probe without an explosion
  double retreat = 0.2;          // factor on the rate after an explosion
  double growth = 1.25;          // factor where cosine or fall of the loss is significant
  double growth_limit = 8;       // growth stops at this multiple of the probe's peak ...
  double fall_limit = 3;         // ... and on a falling loss at this one; 1: the cosine alone grows
  double reference_steps = 2500;    // length of a run whose amplitude is the peak; 0: of every run
  double growth_until = 0.35;       // growth stops after this share of the run
  double cut = 0.5;                 // factor where the loss rises, or stays (unknown horizon)
  double guard_slack = 1;           // multiplies the rise of the loss that guard and cut allow
  double accuracy_weight = 0;       // watches loss + accuracy_weight * (1 - share of right answers)
  int32_t probe_limit = 120;        // most steps a probe takes
  int32_t window = 0;               // steps of evidence for growth, cuts, plateaus; 0: from the run
  int32_t bad_losses = 3;           // non-finite losses in a row that make a rollback
  int32_t bad_losses_in_probe = 3;  // the same in the probe, which then ends
  int32_t ramp_delay = 0;           // steps before the ramp starts to rise
  int32_t rollback_lag = 1;         // losses after the decision that come from abandoned weights
  int32_t horizon_free = 0;         // 1: anneals nothing, as if the total steps were unknown
  int32_t grows = 1;                // 0: never above the peak that the probe found
  int32_t guarded = 1;              // 0: after the probe no cut on a rise and no rollback
  int32_t reserved = 0;
};

static_assert(sizeof(AdaptiveOptions) == 13 * sizeof(double) + 10 * sizeof(int32_t), "no padding");

inline constexpr double kRampFactor = 1.122018454301963435591;  // 10^(1/20): 20 steps a decade

// The probe.
inline constexpr int64_t kFirstBest = 4;           // steps before the lowest mean loss is kept
inline constexpr int64_t kFirstCosine = 8;         // steps before the highest cosine is kept
inline constexpr int64_t kFirstDecision = 10;      // steps before loss or cosine may end the probe
inline constexpr double kProbeRiseOfFall = 0.15;   // allowed rise, share of what the loss fell
inline constexpr double kProbeRiseOfBest = 0.05;   // ... share of its lowest mean
inline constexpr double kProbeRiseDeviations = 3;  // ... plus deviations of the fast mean

// Short runs: the probe takes at most half of the steps and hurries to Adam's customary rate.
inline constexpr int64_t kShortestProbeShare = 2;  // horizon / probe, at least
inline constexpr double kCustomaryRate = 1e-3;     // up to here several ramp factors a step

// The window: clip(horizon / 32, 16, 256), or clip(steps per epoch / 4, 25, 250) without horizon.
inline constexpr int64_t kWindowsInRun = 32, kWindowMin = 16, kWindowMax = 256;
inline constexpr int64_t kWindowsInEpoch = 4, kEpochWindowMin = 25, kEpochWindowMax = 250;

// The guard against an explosion: rise of the fast mean, or of one loss, over the slow mean.
inline constexpr int64_t kOutlierStart = 24;         // steps before outliers are limited
inline constexpr double kGuardWeight = 0.3;          // weight of the slow mean the guard waits for
inline constexpr double kMeanRiseOfFirst = 0.1;      // share of the first loss
inline constexpr double kMeanRiseOfSlow = 1;         // share of the slow mean
inline constexpr double kMeanRiseDeviations = 8;     // deviations of the fast mean
inline constexpr double kSingleRiseOfFirst = 0.25;   // share of the first loss
inline constexpr double kSingleRiseOfSlow = 3;       // share of the slow mean
inline constexpr double kSingleRiseDeviations = 20;  // deviations of one loss
inline constexpr int32_t kSettleSteps = 8;           // guard and slow mean rest after a rollback

// A new snapshot: every second window, where the loss is near its best.
inline constexpr int64_t kSnapshotWindows = 2;
inline constexpr double kSnapshotRise = 0.02;     // share of the lowest fast mean of the run
inline constexpr double kSnapshotDeviations = 2;  // deviations of the fast mean
inline constexpr double kCalmDeviations = 3;      // deviations within which one loss is calm

// Growth, the cut and the plateau test.
inline constexpr double kGrowthDeviations = 2;       // standard errors the mean cosine is above 0
inline constexpr double kCosineVarianceMin = 1e-12;  // the cosine varies at least this much
inline constexpr int64_t kGrowthWindowsMax = 2;      // windows after which evidence is forgotten
inline constexpr double kCutRiseOfFirst = 0.05;      // share of the first loss
inline constexpr double kCutRiseOfSlow = 0.25;       // share of the slow mean
inline constexpr double kCutRiseDeviations = 4;      // deviations of the fast mean
inline constexpr double kFallDeviations = 2;     // standard errors that a fall is significant at
inline constexpr int32_t kUnsettledWindows = 3;  // no growth on a fall after a cut or rollback
inline constexpr double kPlateauDeviations = 1;  // a fall of fewer standard errors is none ...
inline constexpr int32_t kPlateauWindows = 2;    // ... and so many windows without one are cut

enum class Phase : int32_t { kWaiting = 0, kProbe = 1, kRun = 2 };

}  // namespace flyball::adaptive

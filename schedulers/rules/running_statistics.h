#pragma once

#include <cstdint>

#include "schedulers/rules/arithmetic.h"
#include "schedulers/rules/host_device.h"

namespace flyball::adaptive {

// What the adaptive rule keeps of the signals: plain sums, no arrays, only + - * / and sqrt, so
// that every device rounds alike. An exponential mean is sum / weight, where weight is the same
// recursion over ones: unbiased from the first value.

inline constexpr double kFastKeep = 0.9;   // weight of the past in the fast mean, about 10 steps
inline constexpr double kSlowKeep = 0.98;  // weight of the past in the slow mean, about 50 steps
inline constexpr double kSlowGain = 0.02;  // 1 - kSlowKeep
inline constexpr double kOutlier = 4;      // deviations beyond which a loss counts as an outlier
inline constexpr double kLossRounding = 1e-6;  // share of the mean that is never an outlier

// Fast and slow mean of the loss and its variance about the slow mean.
struct LossStatistics {
  double fast_sum = 0, fast_weight = 0;
  double slow_sum = 0, slow_weight = 0;
  double variance_sum = 0, variance_weight = 0;

  FLYBALL_HOST_DEVICE double fast() const { return fast_sum / fast_weight; }
  FLYBALL_HOST_DEVICE double slow() const { return slow_sum / slow_weight; }
  FLYBALL_HOST_DEVICE double variance() const {  // of one loss
    return variance_weight > 0 ? variance_sum / variance_weight : 0;
  }
  FLYBALL_HOST_DEVICE double deviation() const { return square_root(variance()); }
  FLYBALL_HOST_DEVICE double fast_deviation() const {
    return square_root(variance() * (1 - kFastKeep));
  }

  // `limit_outliers` draws the loss towards the slow mean before it enters the slow mean and the
  // variance, so that a spike cannot widen the band it is judged by: |loss - slow| <= 4 deviation.
  // `hold_slow` leaves both as they are.
  FLYBALL_HOST_DEVICE void observe(double loss, bool limit_outliers, bool hold_slow) {
    double counted = loss;
    if (slow_weight > 0) {
      const double mean = slow();
      double difference = loss - mean;
      if (limit_outliers) {
        const double limit = kOutlier * deviation() + kLossRounding * magnitude(mean);
        difference = clipped(difference, -limit, limit);
        counted = mean + difference;
      }
      if (!hold_slow) {
        variance_sum = kSlowKeep * variance_sum + kSlowGain * difference * difference;
        variance_weight = kSlowKeep * variance_weight + kSlowGain;
      }
    }
    fast_sum = kFastKeep * fast_sum + (1 - kFastKeep) * loss;
    fast_weight = kFastKeep * fast_weight + 1 - kFastKeep;
    if (hold_slow) return;
    slow_sum = kSlowKeep * slow_sum + kSlowGain * counted;
    slow_weight = kSlowKeep * slow_weight + kSlowGain;
  }

  // Forgets what the weights that are thrown away did to the fast mean.
  FLYBALL_HOST_DEVICE void restart_fast() {
    fast_sum = slow();
    fast_weight = 1;
  }
};

// Fast mean of the cosine between gradient and previous update, and the standard error of that
// mean.
struct CosineStatistics {
  double sum = 0, sum_of_squares = 0, weight = 0;

  FLYBALL_HOST_DEVICE void observe(double cosine) {
    sum = kFastKeep * sum + (1 - kFastKeep) * cosine;
    sum_of_squares = kFastKeep * sum_of_squares + (1 - kFastKeep) * cosine * cosine;
    weight = kFastKeep * weight + 1 - kFastKeep;
  }
  FLYBALL_HOST_DEVICE double mean() const { return weight > 0 ? sum / weight : 0; }
  FLYBALL_HOST_DEVICE double standard_error() const {
    if (weight <= 0) return 0;
    const double variance = larger(0, sum_of_squares / weight - mean() * mean());
    return square_root(variance * (1 - kFastKeep) / (1 + kFastKeep));
  }
};

// Mean and variance of the values since the last clear.
struct WindowStatistics {
  double sum = 0, sum_of_squares = 0;
  int64_t count = 0;

  FLYBALL_HOST_DEVICE void observe(double value) {
    sum += value;
    sum_of_squares += value * value;
    count += 1;
  }
  FLYBALL_HOST_DEVICE void clear() {
    sum = 0;
    sum_of_squares = 0;
    count = 0;
  }
  FLYBALL_HOST_DEVICE double mean() const { return sum / static_cast<double>(count); }
  FLYBALL_HOST_DEVICE double variance() const {
    return sum_of_squares / static_cast<double>(count) - mean() * mean();
  }
};

}  // namespace flyball::adaptive

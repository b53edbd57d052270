#pragma once

#include <algorithm>
#include <cmath>
#include <ctime>
#include <vector>

namespace flyball::bench {

// Seconds. Process time for one thread, which other programs on the machine do not disturb; wall
// time for more.
inline double now(bool wall) {
  timespec time{};
  clock_gettime(wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Microseconds of one call: median, tenth and ninetieth percentile over the samples.
struct Timing {
  double median = 0, p10 = 0, p90 = 0, least = 0;
};

inline double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(std::lround(q * static_cast<double>(values.size() - 1)))];
}

inline constexpr double kSampleSeconds = 2e-4;
inline constexpr size_t kLeastSamples = 7;

// Seconds of one call, the mean of `calls`.
template <class Action>
double time_of(Action&& action, int calls, bool wall) {
  const double start = now(wall);
  for (int i = 0; i < calls; ++i) action();
  return (now(wall) - start) / calls;
}

// Warms up for 0.2 * seconds; how many calls take kSampleSeconds.
template <class Action>
int calls_of_a_sample(Action&& action, double seconds, bool wall) {
  double once = time_of(action, 1, wall);
  const double warm_until = now(true) + 0.2 * seconds;
  do once = std::min(once, time_of(action, 1, wall));
  while (now(true) < warm_until);
  return std::clamp(static_cast<int>(kSampleSeconds / std::max(once, 1e-8)), 1, 10000);
}

// Takes samples, each giving the seconds of one call, for about `seconds`, at least seven.
template <class Sample>
Timing timing_of(Sample&& sample, double seconds) {
  std::vector<double> samples;
  const double end = now(true) + seconds;
  while (now(true) < end || samples.size() < kLeastSamples) samples.push_back(1e6 * sample());
  return {quantile(samples, 0.5), quantile(samples, 0.1), quantile(samples, 0.9),
          quantile(samples, 0)};
}

// Calls action for about `seconds` after a warm-up, at least seven times. A sample is one call, or
// as many as take kSampleSeconds.
template <class Action>
Timing measure(Action&& action, double seconds, bool wall) {
  const int calls = calls_of_a_sample(action, seconds, wall);
  return timing_of([&] { return time_of(action, calls, wall); }, seconds);
}

// ratio: the median over rounds A B B A of B's time over A's. low, high: the tenth and ninetieth
// percentile of the ratio of A's own two samples; a ratio between them is a tie.
struct Comparison {
  double other_us = 0;  // the median of one call of B
  double ratio = 0, low = 0, high = 0;
  bool tie() const { return low <= ratio && ratio <= high; }
};

// Takes samples of both in turn, each giving the seconds of one call, for about `seconds`, at least
// seven rounds.
template <class SampleA, class SampleB>
Comparison compare_samples(SampleA&& a, SampleB&& b, double seconds) {
  std::vector<double> others, ratios, same;
  const double end = now(true) + seconds;
  while (now(true) < end || ratios.size() < kLeastSamples) {
    const double a1 = a(), b1 = b(), b2 = b(), a2 = a();
    others.push_back(0.5e6 * (b1 + b2));
    ratios.push_back((b1 + b2) / (a1 + a2));
    same.push_back(a2 / a1);
  }
  return {quantile(others, 0.5), quantile(ratios, 0.5), quantile(same, 0.1), quantile(same, 0.9)};
}

// Calls both in turn for about `seconds` after a warm-up, at least seven rounds.
template <class A, class B>
Comparison compare_times(A&& a, B&& b, double seconds, bool wall) {
  const int a_calls = calls_of_a_sample(a, seconds, wall);
  const int b_calls = calls_of_a_sample(b, seconds, wall);
  return compare_samples([&] { return time_of(a, a_calls, wall); },
                         [&] { return time_of(b, b_calls, wall); }, seconds);
}

}  // namespace flyball::bench

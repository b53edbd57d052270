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

// Calls action for about `seconds` after a warm-up, at least seven times. A sample is one call, or
// as many as take kSampleSeconds.
template <class Action>
Timing measure(Action&& action, double seconds, bool wall) {
  constexpr double kSampleSeconds = 2e-4;
  constexpr size_t kLeastSamples = 7;
  const auto time_of = [&](int calls) {
    const double start = now(wall);
    for (int i = 0; i < calls; ++i) action();
    return (now(wall) - start) / calls;
  };
  double once = time_of(1);
  const double warm_until = now(true) + 0.2 * seconds;
  do once = std::min(once, time_of(1));
  while (now(true) < warm_until);
  const int calls = std::clamp(static_cast<int>(kSampleSeconds / std::max(once, 1e-8)), 1, 10000);

  std::vector<double> samples;
  const double end = now(true) + seconds;
  while (now(true) < end || samples.size() < kLeastSamples) samples.push_back(time_of(calls));
  std::sort(samples.begin(), samples.end());
  const auto quantile = [&](double q) {
    return 1e6 *
           samples[static_cast<size_t>(std::lround(q * static_cast<double>(samples.size() - 1)))];
  };
  return {quantile(0.5), quantile(0.1), quantile(0.9), quantile(0)};
}

}  // namespace flyball::bench

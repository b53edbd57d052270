#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace flyball {

// Seconds of training at the end of each step, evaluations left out. Steps are seen late and in
// blocks, so the ends inside a block are spread evenly between the ends of two blocks:
// end(i) = previous + (now - previous) (i + 1) / count.
class TrainingClock {
 public:
  // The ends of `count` steps that were all seen `now` seconds after the start, evaluations
  // included.
  std::vector<double> step_ends(size_t count, double now) {
    const double last = now - excluded_;
    std::vector<double> ends(count);
    for (size_t i = 0; i < count; ++i) {
      const double share = static_cast<double>(i + 1) / static_cast<double>(count);
      ends[i] = last_ + (last - last_) * share;
    }
    if (count > 0) last_ = last;
    return ends;
  }
  // Earlier parts of the run took so many.
  void resume_at(double seconds) {
    last_ = seconds;
    excluded_ -= seconds;
  }
  void exclude(double seconds) { excluded_ += seconds; }
  double last() const { return last_; }  // end of the last step that was seen

  double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  double last_ = 0, excluded_ = 0;
};

}  // namespace flyball

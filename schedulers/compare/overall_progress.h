#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace flyball {

// One line on standard error that shows how the whole grid goes: bar, runs, time left, what runs
// now. On a terminal it is redrawn in place and cut to the terminal's width; elsewhere only
// messages are printed.
class OverallProgress {
 public:
  // `work`: what all runs cost together, in any unit.
  OverallProgress(double work, int64_t runs);
  ~OverallProgress();  // ends the line
  OverallProgress(const OverallProgress&) = delete;
  OverallProgress& operator=(const OverallProgress&) = delete;

  void update(double work_done, int64_t runs_done, const std::string& now);
  void message(const std::string& text);  // a line of its own, above

  // elapsed (work - done) / done; negative where nothing is done yet.
  static double seconds_left(double elapsed, double done, double work);

 private:
  using Clock = std::chrono::steady_clock;
  double work_;
  int64_t runs_;
  bool terminal_, drawn_ = false;
  Clock::time_point start_;
};

// Cuts UTF-8 text to so many characters.
std::string cut_text(const std::string& text, size_t characters);

}  // namespace flyball

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "framework/trainer.h"

namespace flyball {

// A line on standard error that shows how a run goes: epoch, bar, loss, accuracy, learning rate,
// samples/s, time left. On a terminal the line is redrawn in place at most ten times a second;
// elsewhere a line is printed at each tenth of an epoch.
class Progress {
 public:
  Progress(int64_t epochs, int64_t steps_per_epoch, int64_t samples_per_epoch, bool quiet);
  void resume_at(int64_t steps);  // these were done earlier
  void on_steps(const std::vector<StepRecord>& records);
  void on_evaluation(const Evaluation& evaluation);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(bool last_of_epoch);
  std::string line() const;

  int64_t epochs_, steps_per_epoch_, samples_per_epoch_;
  bool quiet_, terminal_;
  Clock::time_point start_, drawn_;
  double evaluation_seconds_ = 0;
  int64_t steps_ = 0, earlier_steps_ = 0, drawn_tenths_ = 0;
  double loss_ = 0, accuracy_ = 0,
         rate_ = 0;  // means over about the last 50 steps; the latest rate
};

std::string duration_text(double seconds);  // "07:05", "1:07:05"
std::string count_text(int64_t count);      // "1,199,882"
int64_t peak_memory_bytes();                // of this process

}  // namespace flyball

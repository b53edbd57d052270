#pragma once

#include <filesystem>
#include <utility>
#include <vector>

#include "framework/trainer.h"

namespace flyball {

// What metrics.jsonl holds of the first steps of a run.
struct RunHistory {
  std::vector<StepRecord> records;
  std::vector<double> step_seconds;  // of training at the end of each
  // With the steps that were done before each; loss, accuracy, split and seconds alone.
  std::vector<std::pair<Evaluation, int64_t>> evaluations;
};

// Cuts the file behind the first `steps` steps and the evaluations until then, in one step, and
// returns what it holds. Throws Error where it cannot be read or written, or holds fewer steps.
RunHistory cut_metrics(const std::filesystem::path& metrics, int64_t steps);

}  // namespace flyball

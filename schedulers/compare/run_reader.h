#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "schedulers/compare/plan.h"

namespace flyball {

struct ValidationPoint {
  int64_t step = 0;  // steps finished before it
  double epoch = 0, seconds = 0, loss = 0, accuracy = 0;
};

// Training figures of a stretch of steps.
struct CurvePoint {
  double epoch = 0;          // at its end
  double loss = 0;           // mean of the finite ones
  double accuracy = 0;       // mean
  double learning_rate = 0;  // geometric mean
};

// The trailing mean of the training loss has fallen to `loss` here, lower than ever before.
struct LossRecord {
  double loss = 0, seconds = 0;
  int64_t step = 0;  // steps finished
};

// What is left of a complete run once its files are read. NaN: there is no such figure.
struct Run {
  Cell cell;
  int64_t epochs = 0, steps = 0, parameters = 0;
  double seconds = 0;     // of training, validations left out
  double final_loss = 0;  // mean training loss of the last epoch
  double loss_area = 0;   // sum of training losses / steps per epoch
  double highest_rate = 0, final_rate = 0;
  int64_t skipped_steps = 0, rollbacks = 0, peak_memory_bytes = 0;
  double test_loss = 0, test_accuracy = 0;
  std::vector<ValidationPoint> validations{};
  std::vector<CurvePoint> curve{};
  std::vector<LossRecord> records{};
  double final_validation_loss = 0, best_validation_loss = 0;
  double final_validation_accuracy = 0, best_validation_accuracy = 0;
};

constexpr int64_t kCurvePoints = 100;   // most points of a curve
constexpr int64_t kTrailingSteps = 50;  // of the trailing mean of the loss, at most an epoch

// The run in `folder`, or nothing where it is not complete or is not the cell's: a run is complete
// once it has a summary.json, which is written last and whole.
std::optional<Run> read_run(const std::filesystem::path& folder, const ModelPlan& task,
                            const Cell& cell);
bool is_complete(const std::filesystem::path& folder, const ModelPlan& task, const Cell& cell);

// Share of a run under way that is done, 0..1, and the seconds of training so far, from the last
// line of its metrics.jsonl; 0 where it has none yet.
struct RunProgress {
  double share = 0, seconds = 0;
};
RunProgress read_progress(const std::filesystem::path& folder, int64_t epochs);

}  // namespace flyball

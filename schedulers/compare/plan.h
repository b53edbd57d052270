#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace flyball {

// A rule as --schedules names it: "step", or with options "step:every=10:factor=0.1".
struct ScheduleSpec {
  std::string text;                    // as written
  std::string name;                    // what --schedule gets
  std::vector<std::string> options{};  // key=value, what --schedule-option gets
};
ScheduleSpec parse_schedule(const std::string& text);  // throws Error

// `step` and `exponential` with as_epochs=50, so that they decay over a run of any length as over
// 50 epochs. Other rules, and an as_epochs that is given, stay as they are.
std::string scaled_schedule(const std::string& text);

// When a validation counts as converged.
struct Threshold {
  bool is_loss = false;  // the loss has fallen to `value`, else the accuracy has risen to it
  double value = 0;
};
Threshold parse_threshold(const std::string& text);  // "0.97", "accuracy=0.97" or "loss=0.1"
Threshold default_threshold(const std::string& model);
std::string threshold_text(const Threshold& threshold);

// What all runs of one model have in common.
struct ModelPlan {
  std::string model;  // the name of its binary
  std::string data;   // folder; empty: the sample in the repository
  int64_t epochs = 1;
  std::vector<std::string> flags;  // handed to the binary as they are
  Threshold threshold{};
};

// One run.
struct Cell {
  std::string model, schedule;
  double learning_rate = 0;
  uint64_t seed = 0;
  bool operator==(const Cell&) const = default;
};

struct Plan {
  std::vector<ModelPlan> tasks{};
  std::vector<Cell> cells{};             // ordered by seed last, so that early results compare
  std::vector<std::string> baselines{};  // schedules that the others are compared with
  const ModelPlan& task(const std::string& model) const;
};

// Every cell of the grid: models, then seeds, then rates, then schedules. The baselines are all
// schedules that are not adaptive. Throws Error for lists that are empty or hold something twice.
Plan make_plan(const std::vector<ModelPlan>& tasks, const std::vector<std::string>& schedules,
               const std::vector<double>& rates, int64_t seeds);

std::string cell_text(const Cell& cell);              // "mnist_cnn adaptive lr 0.001 seed 3"
std::filesystem::path cell_folder(const Cell& cell);  // below the results folder

// The arguments of the binary for one run.
std::vector<std::string> cell_arguments(const ModelPlan& task, const Cell& cell,
                                        const std::filesystem::path& folder, int threads);

}  // namespace flyball

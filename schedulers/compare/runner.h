#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "schedulers/compare/plan.h"

namespace flyball {

struct RunnerOptions {
  std::filesystem::path binaries;  // folder of the model binaries
  std::filesystem::path out;
  int jobs = 1;
  int threads = 1;  // of each job
  bool keep_weights = false;
  std::map<std::string, double> seconds;  // of a run by model, relative to each other; default 1
};

// SIGINT and SIGTERM are remembered from here on instead of ending the process.
void catch_signals();
int caught_signal();  // 0: none

// Runs the cells that are not complete yet, `jobs` at a time. What a run that was cut off left is
// removed first. A run that fails leaves error.txt in its folder, is reported in one line, and the
// others go on. After a signal the children are asked to stop, and it returns.
void run_cells(const Plan& plan, const std::vector<Cell>& cells, const RunnerOptions& options);

// What a failed run left, or nothing.
std::optional<std::string> read_failure(const std::filesystem::path& folder);

// Trains on a handful of samples, with everything else as in the cell: the binary itself says what
// is wrong with schedules, options, flags or data. Throws Error with its line.
void try_cell(const ModelPlan& task, const Cell& cell, const std::filesystem::path& binaries,
              const std::filesystem::path& scratch);

}  // namespace flyball

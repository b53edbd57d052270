#include "schedulers/compare/estimate.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "kernels/error.h"
#include "schedulers/compare/child_process.h"
#include "schedulers/compare/run_reader.h"

namespace flyball {
namespace {

double measure(const ModelPlan& task, const Cell& cell, const RunnerOptions& options,
               const std::filesystem::path& scratch) {
  const std::filesystem::path folder = scratch / "measure";
  ChildProcess child(options.binaries / cell.model,
                     cell_arguments(task, cell, folder, options.threads));
  RunProgress first, progress;
  bool ended = false;
  while (caught_signal() == 0 && !ended && !(first.share > 0 && progress.share > first.share)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ended = child.poll().has_value();
    progress = read_progress(folder, task.epochs);
    if (first.share == 0) first = progress;
  }
  child.kill();
  child.wait();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  if (progress.share == 0) {
    if (caught_signal() != 0) return 0;
    throw std::runtime_error(
        str(cell_text(cell), ": no step to measure: ", child.last_error_line()));
  }
  if (progress.share == first.share) return progress.seconds / progress.share;
  return (progress.seconds - first.seconds) / (progress.share - first.share);
}

}  // namespace

std::map<std::string, double> measure_seconds(const Plan& plan, const RunnerOptions& options,
                                              const std::filesystem::path& scratch) {
  std::map<std::string, double> seconds;
  for (const Cell& cell : plan.cells) {
    if (seconds.count(cell.model) == 0 && caught_signal() == 0)
      seconds[cell.model] = measure(plan.task(cell.model), cell, options, scratch);
  }
  return seconds;
}

double estimate_seconds(const std::vector<Cell>& cells,
                        const std::map<std::string, double>& seconds, int jobs) {
  double sum = 0;
  for (const Cell& cell : cells) sum += seconds.at(cell.model);
  return sum / std::max(1, std::min(jobs, static_cast<int>(cells.size())));
}

}  // namespace flyball

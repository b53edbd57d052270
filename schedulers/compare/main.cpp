#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

#include "framework/progress.h"
#include "framework/write_file.h"
#include "kernels/error.h"
#include "schedulers/compare/estimate.h"
#include "schedulers/compare/options.h"
#include "schedulers/compare/plan_file.h"
#include "schedulers/compare/report.h"
#include "schedulers/compare/runner.h"
#include "schedulers/compare/terminal_table.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

// A folder of its own for trials and measurements, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (fs::temp_directory_path() / "compare-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
      throw std::runtime_error(str(pattern, ": cannot make a folder: ", std::strerror(errno)));
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Held by the one process that works in a results folder; the system lets go of it when that ends.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder) {
    const fs::path file = folder / "lock";
    file_ = open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (file_ < 0)
      throw Error(str("--out: cannot write ", file.string(), ": ", std::strerror(errno)));
    if (flock(file_, LOCK_EX | LOCK_NB) != 0)
      throw Error(str("--out: another compare_schedules is at work in ", folder.string()));
  }
  ~FolderLock() { close(file_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_ = -1;
};

bool holds_files(const fs::path& folder) {
  return fs::exists(folder) && !(fs::is_directory(folder) && fs::is_empty(folder));
}

// The plan of the results folder with this one added; throws Error where they do not go together.
Plan plan_with_earlier(const Plan& plan, const fs::path& out) {
  if (fs::exists(out / "plan.json")) return merge_plans(read_plan(out / "plan.json"), plan);
  if (holds_files(out))
    throw Error(str("--out: ", out.string(),
                    " holds other files, expected an empty folder or one with a plan.json"));
  return plan;
}

// One cell of each model and schedule that has something left to do.
void try_cells(const Plan& plan, const CompareOptions& options) {
  const ScratchFolder scratch;
  std::set<std::pair<std::string, std::string>> tried;
  for (const Cell& cell : options.plan.cells) {
    const ModelPlan& task = plan.task(cell.model);
    if (is_complete(options.runner.out / cell_folder(cell), task, cell)) continue;
    if (tried.insert({cell.model, cell.schedule}).second && caught_signal() == 0)
      try_cell(task, cell, options.runner.binaries, scratch.path());
  }
}

void estimate(const Plan& plan, CompareOptions& options) {
  std::vector<Cell> left;
  for (const Cell& cell : options.plan.cells) {
    if (!is_complete(options.runner.out / cell_folder(cell), plan.task(cell.model), cell))
      left.push_back(cell);
  }
  if (left.empty()) return;
  const ScratchFolder scratch;
  Plan remaining{.tasks = plan.tasks, .cells = left, .baselines = {}};
  options.runner.seconds = measure_seconds(remaining, options.runner, scratch.path());
  if (caught_signal() != 0) return;
  for (const auto& [model, seconds] : options.runner.seconds) {
    std::fprintf(stderr, "%s: about %s of training a run\n", model.c_str(),
                 duration_text(seconds).c_str());
  }
  const double all = estimate_seconds(left, options.runner.seconds, options.runner.jobs);
  std::fprintf(stderr, "%zu runs, %d at a time: about %s, validations and tests not counted\n",
               left.size(), options.runner.jobs, duration_text(all).c_str());
}

// Writes every result of the folder; how many of the asked cells failed or are missing.
size_t write_results(const Plan& plan, const std::vector<Cell>& asked,
                     const RunnerOptions& options) {
  std::vector<Run> runs;
  std::vector<Failure> failures;
  std::set<fs::path> unfinished;
  for (const Cell& cell : plan.cells) {
    const fs::path folder = options.out / cell_folder(cell);
    unfinished.insert(cell_folder(cell));
    if (std::optional<Run> run = read_run(folder, plan.task(cell.model), cell); run.has_value()) {
      runs.push_back(std::move(*run));
      unfinished.erase(cell_folder(cell));
    } else if (const auto error = read_failure(folder); error.has_value()) {
      failures.push_back({.cell = cell, .error = *error});
    }
  }
  const std::vector<Row> rows = make_rows(runs, plan);
  const std::vector<Group> groups = group_rows(rows);
  const std::vector<Comparison> comparisons = compare_groups(groups, plan.baselines);
  write_whole_file(options.out / "results.csv", results_csv(rows, failures));
  write_whole_file(options.out / "results.jsonl", results_jsonl(rows, failures));
  write_whole_file(options.out / "statistics.json", statistics_json(groups, comparisons));
  write_whole_file(options.out / "statistics.csv", statistics_csv(groups, comparisons));
  write_whole_file(options.out / "report.html", report_html({.plan = plan,
                                                             .machine = this_machine(),
                                                             .jobs = options.jobs,
                                                             .threads = options.threads,
                                                             .rows = rows,
                                                             .failures = failures,
                                                             .groups = groups,
                                                             .comparisons = comparisons}));
  std::printf("%s%s\n", results_table(groups, plan).c_str(),
              comparisons_table(comparisons, plan.baselines).c_str());
  if (!unfinished.empty()) {
    std::printf("%zu of %zu runs complete, %zu failed, %zu to do\n", rows.size(), plan.cells.size(),
                failures.size(), unfinished.size() - failures.size());
  }
  std::printf("results  %s\nreport   %s\n", (options.out / "results.csv").c_str(),
              (options.out / "report.html").c_str());
  return static_cast<size_t>(std::count_if(asked.begin(), asked.end(), [&](const Cell& cell) {
    return unfinished.contains(cell_folder(cell));
  }));
}

// Bad input is thrown as Error before anything is written; what fails later as anything else.
int compare(CompareOptions options) {
  catch_signals();
  const fs::path& out = options.runner.out;
  const Plan plan = plan_with_earlier(options.plan, out);
  try_cells(plan, options);
  if (caught_signal() != 0) return 128 + caught_signal();
  if (options.estimate) estimate(plan, options);
  if (options.estimate_only || caught_signal() != 0)
    return caught_signal() == 0 ? 0 : 128 + caught_signal();

  std::error_code failure;
  fs::create_directories(out, failure);
  if (failure)
    throw Error(str("--out: cannot create folder ", out.string(), ": ", failure.message()));
  const FolderLock lock(out);
  try {
    write_plan(out / "plan.json", plan);
    run_cells(plan, options.plan.cells, options.runner);
    const size_t unfinished = write_results(plan, options.plan.cells, options.runner);
    if (caught_signal() != 0) {
      std::fprintf(stderr, "compare_schedules: stopped; the same command goes on from here\n");
      return 128 + caught_signal();
    }
    return unfinished == 0 ? 0 : 1;
  } catch (const Error& error) {
    throw std::runtime_error(error.what());
  }
}

}  // namespace
}  // namespace flyball

int main(int argc, char** argv) {
  using namespace flyball;
  try {
    const fs::path program = fs::read_symlink("/proc/self/exe");
    return compare(parse_compare_options(argc, argv, program.parent_path()));
  } catch (const Error& error) {
    std::fprintf(stderr, "compare_schedules: error: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "compare_schedules: failed: %s\n", error.what());
    return 1;
  }
}

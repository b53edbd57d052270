#include "schedulers/compare/runner.h"

#include <signal.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "framework/progress.h"
#include "kernels/error.h"
#include "schedulers/compare/child_process.h"
#include "schedulers/compare/overall_progress.h"
#include "schedulers/compare/run_reader.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

volatile sig_atomic_t signal_caught = 0;

void remember_signal(int signal) { signal_caught = signal; }

void pause_for(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

void remove_weights(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "best.safetensors", "checkpoints"})
    fs::remove_all(folder / name);
}

// Whether an earlier session left a checkpoint to go on from.
bool has_checkpoint(const fs::path& folder) {
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints", failure)) {
    if (entry.path().extension() == ".safetensors") return true;
  }
  return false;
}

struct Job {
  Cell cell;
  fs::path folder;
  bool resumes = false;
  ChildProcess child;
  Clock::time_point start;
};

// One session of the runner.
class Session {
 public:
  Session(const Plan& plan, const RunnerOptions& options) : plan_(plan), options_(options) {}

  void run(const std::vector<Cell>& cells) {
    double work = 0;
    for (const Cell& cell : cells) {
      if (is_complete(options_.out / cell_folder(cell), plan_.task(cell.model), cell)) continue;
      waiting_.push_back({.cell = cell, .anew = false});
      work += cost(cell);
    }
    total_ = static_cast<int64_t>(waiting_.size());
    OverallProgress progress(work, total_);
    if (const size_t done = cells.size() - waiting_.size(); done > 0)
      progress.message(str(done, " of ", cells.size(), " runs are already done"));
    while (caught_signal() == 0 && (!waiting_.empty() || !jobs_.empty())) {
      while (!waiting_.empty() && jobs_.size() < static_cast<size_t>(options_.jobs)) {
        start(waiting_.front());
        waiting_.pop_front();
      }
      collect(progress);
      draw(progress);
      pause_for(20);
    }
    stop();
  }

 private:
  double cost(const Cell& cell) const {
    const auto found = options_.seconds.find(cell.model);
    return found == options_.seconds.end() ? 1 : found->second;
  }

  struct Waiting {
    Cell cell;
    bool anew;  // what is there of it cannot be gone on with
  };

  void start(const Waiting& next) {
    const Cell& cell = next.cell;
    const fs::path folder = options_.out / cell_folder(cell);
    const bool resumes = !next.anew && has_checkpoint(folder);
    std::vector<std::string> arguments =
        cell_arguments(plan_.task(cell.model), cell, folder, options_.threads);
    if (resumes) {
      arguments = {"--resume", folder.string(), "--threads", str(options_.threads), "--json"};
    } else {
      fs::remove_all(folder);
    }
    jobs_.push_back({.cell = cell,
                     .folder = folder,
                     .resumes = resumes,
                     .child = ChildProcess(options_.binaries / cell.model, arguments),
                     .start = Clock::now()});
  }

  void collect(OverallProgress& progress) {
    std::vector<Job> running;
    for (Job& job : jobs_) {
      const std::optional<int> code = job.child.poll();
      if (!code.has_value()) {
        running.push_back(std::move(job));
      } else {
        finish(job, *code, progress);
      }
    }
    jobs_.swap(running);
  }

  void finish(const Job& job, int code, OverallProgress& progress) {
    if (job.resumes && code == 2) {  // its checkpoints are damaged
      waiting_.push_front({.cell = job.cell, .anew = true});
      return;
    }
    done_ += cost(job.cell);
    ++runs_done_;
    const std::string place = str('[', runs_done_, '/', total_, "] ", cell_text(job.cell));
    if (code == 0 && is_complete(job.folder, plan_.task(job.cell.model), job.cell)) {
      if (!options_.keep_weights) remove_weights(job.folder);
      const double seconds = std::chrono::duration<double>(Clock::now() - job.start).count();
      char text[32];
      std::snprintf(text, sizeof text, "%.1f s", seconds);
      progress.message(place + ": " + (seconds < 60 ? text : duration_text(seconds)));
      return;
    }
    std::string error = job.child.last_error_line();
    if (error.empty() || code > 128)
      error = code > 128 ? str("ended by signal ", code - 128)
                         : str("exit code ", code, " without a summary.json");
    progress.message(place + ": failed: " + error);
    // Where there is no space left for it, the run is just incomplete.
    std::error_code ignored;
    fs::create_directories(job.folder, ignored);
    std::ofstream(job.folder / "error.txt") << error << '\n';
  }

  void draw(OverallProgress& progress) {
    const auto now = Clock::now();
    if (now - drawn_ < std::chrono::milliseconds(500)) return;
    drawn_ = now;
    double done = done_;
    std::string text;
    for (const Job& job : jobs_) {
      done += cost(job.cell) * read_progress(job.folder, plan_.task(job.cell.model).epochs).share;
      text += (text.empty() ? "" : "; ") + cell_text(job.cell);
    }
    progress.update(done, runs_done_, text);
  }

  // Children that do not stop in time are killed when their objects end.
  void stop() {
    for (const Job& job : jobs_) job.child.terminate();
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    for (Job& job : jobs_) {
      while (!job.child.poll().has_value() && Clock::now() < deadline) pause_for(20);
    }
    jobs_.clear();
  }

  const Plan& plan_;
  const RunnerOptions& options_;
  std::deque<Waiting> waiting_;
  std::vector<Job> jobs_;
  double done_ = 0;
  int64_t runs_done_ = 0, total_ = 0;
  Clock::time_point drawn_;
};

}  // namespace

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = remember_signal;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

int caught_signal() { return signal_caught; }

void run_cells(const Plan& plan, const std::vector<Cell>& cells, const RunnerOptions& options) {
  Session(plan, options).run(cells);
}

std::optional<std::string> read_failure(const fs::path& folder) {
  std::ifstream in(folder / "error.txt");
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return line;
}

void try_cell(const ModelPlan& task, const Cell& cell, const fs::path& binaries,
              const fs::path& scratch) {
  std::vector<std::string> arguments = cell_arguments(task, cell, scratch / "trial", 1);
  arguments.insert(arguments.end(), {"--epochs", "1", "--limit-train", "2", "--limit-eval", "2"});
  ChildProcess child(binaries / cell.model, arguments);
  while (!child.poll().has_value() && caught_signal() == 0) pause_for(5);
  if (caught_signal() != 0) return;
  const int code = child.wait();
  std::error_code ignored;
  fs::remove_all(scratch / "trial", ignored);
  if (code == 2) throw Error(child.last_error_line());
  if (code != 0)
    throw std::runtime_error(
        str("a trial of ", cell_text(cell), " ended with ", code, ": ", child.last_error_line()));
}

}  // namespace flyball

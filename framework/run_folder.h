#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "framework/event_file.h"
#include "framework/run_history.h"
#include "framework/trainer.h"
#include "framework/training_clock.h"

namespace flyball {

// A run's folder: config.json, metrics.jsonl (a line a step, a line an evaluation), the same
// figures as a TensorBoard event file, summary.json, model.safetensors (the final weights),
// best.safetensors (those of the best validation) and checkpoints/. JSON texts come from the
// caller, so this header needs no JSON library. Training is taken to start when the folder is
// opened.
class RunFolder {
 public:
  // Creates the folder where it does not exist. Throws Error if it cannot be written or already
  // holds a run and `overwrite` is not set.
  RunFolder(std::filesystem::path folder, bool overwrite);
  // Goes on with a run: its metrics were cut to `history`.
  RunFolder(std::filesystem::path folder, const RunHistory& history);

  void write_config(const std::string& json) { write("config.json", json); }
  void write_summary(const std::string& json) { write("summary.json", json); }
  void discard();  // removes what it wrote, and the folder where nothing else is in it
  void add_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch);
  void add_evaluation(const Evaluation& evaluation, int64_t step, double epoch);
  // Seconds of training until the last step that was added, evaluations left out.
  double training_seconds() const { return clock_.last(); }

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path metrics_file() const { return folder_ / "metrics.jsonl"; }
  std::filesystem::path model_file() const { return folder_ / "model.safetensors"; }
  std::filesystem::path best_file() const { return folder_ / "best.safetensors"; }

 private:
  void open_metrics(std::ios::openmode mode);
  void write(const std::string& name, const std::string& text) const;
  void check_metrics();

  std::filesystem::path folder_;
  std::ofstream metrics_;
  std::unique_ptr<EventFile> events_;
  TrainingClock clock_;
};

}  // namespace flyball

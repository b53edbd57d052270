#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "framework/trainer.h"

namespace flyball {

// A run's folder: config.json, metrics.jsonl (a line a step, a line an evaluation), summary.json,
// model.safetensors (the final weights), best.safetensors (those of the best validation) and
// checkpoints/step-N.safetensors. JSON texts come from the caller, so this header needs no JSON
// library.
class RunFolder {
 public:
  // Creates the folder where it does not exist. Throws Error if it cannot be written or already
  // holds a run and `overwrite` is not set.
  RunFolder(std::filesystem::path folder, bool overwrite);

  void write_config(const std::string& json) { write("config.json", json); }
  void write_summary(const std::string& json) { write("summary.json", json); }
  void discard();  // removes what it wrote, and the folder where nothing else is in it
  void add_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch);
  void add_evaluation(const Evaluation& evaluation, int64_t step, double epoch);

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path model_file() const { return folder_ / "model.safetensors"; }
  std::filesystem::path best_file() const { return folder_ / "best.safetensors"; }
  std::filesystem::path checkpoint_file(int64_t step) const;  // makes its folder

 private:
  void write(const std::string& name, const std::string& text) const;
  void check_metrics();

  std::filesystem::path folder_;
  std::ofstream metrics_;
};

}  // namespace flyball

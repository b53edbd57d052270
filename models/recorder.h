#pragma once

#include <functional>

#include "framework/progress.h"
#include "framework/run_folder.h"
#include "framework/trainer.h"

namespace flyball {

// Passes what the trainer reports to the folder and the progress line, keeps the weights when it is
// time to, and remembers what the summary needs.
class Recorder : public TrainingObserver {
 public:
  using SaveWeights = std::function<void(const std::filesystem::path&)>;
  Recorder(RunFolder& folder, Progress& progress, SaveWeights save)
      : folder_(folder), progress_(progress), save_(std::move(save)) {}

  void on_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch) override;
  void on_evaluation(const Evaluation& evaluation, int64_t step, double epoch) override;
  void on_save(int64_t step) override;

  int64_t steps = 0, skipped = 0, rollbacks = 0;
  double rate = 0, highest_rate = 0;
  double epoch_loss = 0, epoch_steps = 0;  // of the epoch in progress
  Evaluation validation;                   // the newest
  Evaluation best;                         // the most accurate; of equals the one of least loss
  int64_t best_step = 0;

 private:
  RunFolder& folder_;
  Progress& progress_;
  SaveWeights save_;
};

}  // namespace flyball

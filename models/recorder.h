#pragma once

#include <functional>

#include "framework/progress.h"
#include "framework/run_folder.h"
#include "framework/run_history.h"
#include "framework/trainer.h"
#include "models/stop_signals.h"

namespace flyball {

// Passes what the trainer reports to the folder and the progress line, keeps the weights when it is
// time to, and remembers what the summary needs.
class Recorder : public TrainingObserver {
 public:
  using SaveWeights = std::function<void(const std::filesystem::path&)>;
  using SaveCheckpoint = std::function<void(int64_t step)>;
  Recorder(RunFolder& folder, Progress& progress, SaveWeights save_weights,
           SaveCheckpoint save_checkpoint)
      : folder_(folder),
        progress_(progress),
        save_weights_(std::move(save_weights)),
        save_checkpoint_(std::move(save_checkpoint)) {}

  void on_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch) override;
  void on_evaluation(const Evaluation& evaluation, int64_t step, double epoch) override;
  void on_save(int64_t step) override { save_checkpoint_(step); }
  bool wants_stop() override { return StopSignals::received(); }

  // What an earlier part of the run reported.
  void recall(const RunHistory& history, int64_t steps_per_epoch);

  int64_t steps = 0, skipped = 0, rollbacks = 0;
  double highest_rate = 0;
  double epoch_loss = 0, epoch_steps = 0;  // of the epoch in progress
  Evaluation validation;                   // the newest
  Evaluation best;                         // the most accurate; of equals the one of least loss
  int64_t best_step = 0;

 private:
  void remember(const std::vector<StepRecord>& records, int64_t steps_per_epoch);
  bool remember(const Evaluation& evaluation, int64_t step);  // whether it is the best

  RunFolder& folder_;
  Progress& progress_;
  SaveWeights save_weights_;
  SaveCheckpoint save_checkpoint_;
};

}  // namespace flyball

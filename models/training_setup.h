#pragma once

#include "framework/checkpoint.h"
#include "models/task.h"

namespace flyball {

// All that a training run of some options works on. Throws Error on what it cannot be made from.
class TrainingSetup {
 public:
  TrainingSetup(Task& task, const RunOptions& options);

  const Stream& stream() const { return stream_; }
  const LabelledSet& dataset() const { return *dataset_; }
  DataLoader& training() { return *training_; }
  DataLoader* validation() { return validation_.get(); }  // null: no samples are held out
  int64_t steps_per_epoch() const { return training_->batches_per_epoch(); }
  Module& module() { return *model_.module; }
  Trainer& trainer() { return *trainer_; }
  TrainingState state() { return {*model_.module, *optimizer_, *rate_}; }
  Evaluation test();  // scores the test data

 private:
  const RunOptions& options_;
  Stream stream_;
  std::unique_ptr<LabelledSet> dataset_, test_dataset_;
  std::unique_ptr<DataLoader> training_, validation_;
  Initializer init_;
  Model model_;
  std::unique_ptr<ParameterArena> arena_;
  std::unique_ptr<LearningRate> rate_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace flyball

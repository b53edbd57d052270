#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "framework/data_loader.h"
#include "framework/module.h"
#include "framework/ops.h"
#include "framework/optimizer.h"
#include "framework/step_graphs.h"
#include "framework/step_log.h"

namespace flyball {

// One evaluation of a data split.
struct Evaluation {
  std::string split;  // "validation", "test"
  int64_t samples = 0, steps = 0;
  double loss = 0;      // mean over the samples
  double accuracy = 0;  // 0..1
  double seconds = 0;
};

// Told about a run as it goes, on the training thread, outside the steps.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void on_steps(const std::vector<StepRecord>&, int64_t /*steps_per_epoch*/) {}
  virtual void on_evaluation(const Evaluation&, int64_t /*step*/, double /*epoch*/) {}
  // Before the first step and every save_every steps: the moment to keep the weights.
  virtual void on_save(int64_t /*step*/) {}
  // Asked after every step: whether to end here. Then on_save() is called once more.
  virtual bool wants_stop() { return false; }
};

// The model as the trainer sees it: logits [count, classes] of a batch.
using ForwardFunction = std::function<Variable(const Context& context, const Batch& batch)>;

// Of --recompute, see Context: "on", "off", or "auto", which is on on the CPU. Throws Error.
bool parse_recompute(const std::string& text, Device device);

struct TrainerOptions {
  uint64_t seed = 0;
  double label_smoothing = 0;
  Precision precision = Precision::fp32;
  bool recompute = false;    // see Context
  int64_t drain_every = 50;  // steps between two looks at the step log
  int64_t eval_every = 0;    // steps between two looks at the validation split; 0: every epoch
  int64_t save_every = 0;    // steps between two on_save(); 0: none
  // Whether steps are captured into graphs and replayed, on devices that can.
  bool capture = true;
};

// Trains a classifier with softmax cross entropy. A step only enqueues: forward, backward,
// optimizer with the learning-rate rule. On CUDA the second step of each batch size is captured,
// the batch's loading included, and from then on replayed as one graph. The step log is drained
// every `drain_every` steps and at the end of an epoch.
class Trainer {
 public:
  // Throws Error where an option is out of its range or the device lacks the precision.
  Trainer(const Stream& stream, ForwardFunction forward, Optimizer& optimizer, LearningRate& rate,
          const TrainerOptions& options = {});

  void step(const Batch& batch);  // enqueued operation by operation
  void step(DataLoader& loader);  // on the loader's next batch; captured, where that is wanted
  // Epochs of the loader's batches. The validation split, where there is one, is scored every
  // eval_every steps and at the end, or after each epoch. Where `first_step` steps of them are done
  // already, and weights, optimizer and learning rate are as they were then, it goes on from there.
  // Returns the steps that are done: all, unless the observer wanted to stop.
  int64_t fit(DataLoader& training, DataLoader* validation, int64_t epochs,
              TrainingObserver& observer, int64_t first_step = 0);
  Evaluation evaluate(DataLoader& loader, const std::string& split);
  const StepResult& last_result() const { return result_; }
  const StepGraphs* graphs() const { return graphs_.get(); }  // null: steps are not captured

 private:
  const Stream& stream_;
  ForwardFunction forward_;
  Optimizer& optimizer_;
  LearningRate& rate_;
  TrainerOptions options_;
  StepLog log_;
  StepResult result_;
  std::unique_ptr<StepGraphs> graphs_;
};

// Scores a split without a trainer: the loader's first epoch, from its start.
Evaluation evaluate(const Stream& stream, const ForwardFunction& forward, DataLoader& loader,
                    const std::string& split, Precision precision = Precision::fp32);

}  // namespace flyball

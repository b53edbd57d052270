#pragma once

#include <cstdint>
#include <string>

#include "framework/precision.h"
#include "framework/trainer.h"
#include "models/task.h"

namespace flyball::bench {

struct TrainingOptions {
  std::string model = "cnn";
  int64_t batch = 64;
  int64_t width = 64;  // of resnet18
  int threads = 1;
  double seconds = 5;
  std::string schedule = "constant", device = "cpu", precision = "fp32", recompute = "auto";
  bool evaluate = false;  // the forward pass of an evaluation instead of a training step
  bool json = false;
};

// A network on one fixed batch of random images or tokens.
class Workload {
 public:
  explicit Workload(const TrainingOptions& options);

  // The three phases of a step, in this order, and what frees the step's memory.
  void forward();
  void backward();
  StepResult optimize();
  void release() { entropy_ = {}; }

  void evaluate();

  StepResult step() {
    forward();
    backward();
    const StepResult result = optimize();
    release();
    return result;
  }
  const Stream& stream() const { return stream_; }
  const Batch& batch() const { return batch_; }
  int64_t parameters() { return parameter_count(*model_.module); }

 private:
  Stream stream_;
  Precision precision_;
  bool recompute_;
  Initializer init_;
  Model model_;
  ParameterArena arena_;
  LearningRate rate_;
  Adam adam_;
  Batch batch_;
  CrossEntropy entropy_;
};

// Whole steps on a CUDA device, captured into a graph: their times by the device's events, or on
// the simulated GPU the counters of one step. Throws Error where there is no device.
void bench_training_on_cuda(const TrainingOptions& options);

}  // namespace flyball::bench

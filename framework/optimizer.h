#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/learning_rate.h"
#include "framework/parameter_arena.h"

namespace flyball {

// What a finished batch tells the optimizer and the learning-rate rule, in device memory.
struct StepResult {
  Tensor loss;       // [1], mean over the batch
  Tensor correct;    // [1] i32
  int64_t rows = 1;  // samples in the batch
};

// Updates every parameter of an arena in one launch and lets the learning-rate rule run, all
// enqueued.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual void enqueue_step(const StepResult& result, LearningRate& rate, const Stream& stream) = 0;
  // Arena-sized buffers and small state, by name, for checkpoints.
  virtual std::vector<std::pair<std::string, Tensor>> state() = 0;
};

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;  // decoupled (AdamW); spares biases and norms
  double clip_norm = 0;     // 0: off; otherwise one more pass over the gradients
};

// kernels/adam.h; f32 or f64 as the arena.
class Adam : public Optimizer {
 public:
  // `rate` only says which rule will drive it: whether a snapshot has to be kept.
  Adam(const Stream& stream, ParameterArena& arena, const LearningRate& rate,
       const AdamOptions& options = {});
  void enqueue_step(const StepResult& result, LearningRate& rate, const Stream& stream) override;
  std::vector<std::pair<std::string, Tensor>> state() override;

 private:
  ParameterArena& arena_;
  AdamOptions options_;
  Tensor m_, v_, snapshot_;
  Tensor partial_sums_, gradient_norm_squared_;  // f64
  Tensor powers_;                                // f64 [2]
  Tensor arrivals_;                              // i32 [1]
};

struct SgdOptions {
  double momentum = 0.9;
  double weight_decay = 0;  // added to the gradient; spares biases and norms
  double clip_norm = 0;
};

// kernels/sgd.h and learning_rate.h; f32 or f64 as the arena.
class Sgd : public Optimizer {
 public:
  // `rate` only says which rule will drive it: whether sums and a snapshot are needed.
  Sgd(const Stream& stream, ParameterArena& arena, const LearningRate& rate,
      const SgdOptions& options = {});
  void enqueue_step(const StepResult& result, LearningRate& rate, const Stream& stream) override;
  std::vector<std::pair<std::string, Tensor>> state() override;

 private:
  ParameterArena& arena_;
  SgdOptions options_;
  Tensor momentum_, snapshot_;
  Tensor partial_sums_, gradient_norm_squared_;  // f64
};

}  // namespace flyball

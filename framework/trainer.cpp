#include "framework/trainer.h"

#include <chrono>

namespace flyball {

Trainer::Trainer(const Stream& stream, ForwardFunction forward, Optimizer& optimizer,
                 LearningRate& rate, const TrainerOptions& options)
    : stream_(stream),
      forward_(std::move(forward)),
      optimizer_(optimizer),
      rate_(rate),
      options_(options),
      log_(stream, rate) {
  check_precision(options.precision, stream.device());
  if (options.drain_every < 1 || options.drain_every > LearningRate::kLogCapacity) {
    throw Error(str("trainer: drain_every is ", options.drain_every, ", expected 1 to ",
                    LearningRate::kLogCapacity));
  }
  for (const auto& [name, steps] :
       {std::pair("eval_every", options.eval_every), std::pair("save_every", options.save_every)}) {
    if (steps < 0) throw Error(str("trainer: ", name, " is ", steps, ", expected at least 0"));
  }
  if (options.capture && Graph::supported(stream.device())) {
    graphs_ = std::make_unique<StepGraphs>(stream);
  }
}

bool parse_recompute(const std::string& text, Device device) {
  if (text == "auto") return device.kind == Device::Kind::cpu;
  if (text == "on" || text == "off") return text == "on";
  throw Error(str("--recompute is '", text, "', expected one of: auto, on, off"));
}

void Trainer::step(const Batch& batch) {
  const Context context{.stream = stream_,
                        .training = true,
                        .seed = options_.seed,
                        .step = rate_.step(),
                        .precision = options_.precision,
                        .recompute = options_.recompute};
  const Variable logits = forward_(context, batch);
  const CrossEntropy entropy =
      softmax_cross_entropy(context, logits, batch.labels, options_.label_smoothing);
  entropy.loss.backward(stream_);
  result_ = {.loss = entropy.loss.value(), .correct = entropy.correct, .rows = batch.count};
  optimizer_.enqueue_step(result_, rate_, stream_);
}

void Trainer::step(DataLoader& loader) {
  const Batch batch = loader.prepare();
  const auto enqueue = [&] {
    loader.load(batch);
    step(batch);
    return result_;
  };
  result_ = graphs_ == nullptr ? enqueue() : graphs_->run(batch, enqueue);
}

int64_t Trainer::fit(DataLoader& training, DataLoader* validation, int64_t epochs,
                     TrainingObserver& observer, int64_t first_step) {
  const int64_t steps_per_epoch = training.batches_per_epoch();
  const int64_t total_steps = epochs * steps_per_epoch;
  const int64_t eval_every = options_.eval_every > 0 ? options_.eval_every : steps_per_epoch;
  if (first_step > 0) {
    training.seek(first_step / steps_per_epoch, first_step % steps_per_epoch);
    log_.resume_at(first_step);
  }
  const int64_t log_start = log_.next_step() - first_step;
  if (options_.save_every > 0 && first_step == 0) observer.on_save(0);
  for (int64_t steps = first_step + 1; steps <= total_steps; ++steps) {
    step(training);
    const bool stops = observer.wants_stop() && steps < total_steps;
    const bool evaluates =
        validation != nullptr && (steps % eval_every == 0 || steps == total_steps);
    const bool saves = stops || (options_.save_every > 0 && steps % options_.save_every == 0);
    if (evaluates || saves || steps % steps_per_epoch == 0) {
      observer.on_steps(log_.drain(), steps_per_epoch);
    } else if (steps % options_.drain_every == 0) {
      observer.on_steps(log_.drain_late(log_start + steps), steps_per_epoch);
    }
    if (evaluates) {
      const Evaluation evaluation = evaluate(*validation, "validation");
      rate_.set_validation(stream_, evaluation.loss, evaluation.accuracy);
      observer.on_evaluation(evaluation, steps,
                             static_cast<double>(steps) / static_cast<double>(steps_per_epoch));
    }
    if (saves) observer.on_save(steps);
    if (stops) return steps;
  }
  return total_steps;
}

Evaluation Trainer::evaluate(DataLoader& loader, const std::string& split) {
  return flyball::evaluate(stream_, forward_, loader, split, options_.precision);
}

Evaluation evaluate(const Stream& stream, const ForwardFunction& forward, DataLoader& loader,
                    const std::string& split, Precision precision) {
  const NoGradient no_gradient;
  const Context context{.stream = stream, .precision = precision};
  const auto start = std::chrono::steady_clock::now();
  Evaluation evaluation{
      .split = split, .samples = loader.samples(), .steps = loader.batches_per_epoch()};
  // Every batch leaves its figures on the device; they are read once all are enqueued.
  std::vector<StepResult> results;
  loader.seek(0, 0);
  for (int64_t i = 0; i < evaluation.steps; ++i) {
    const Batch batch = loader.next();
    const CrossEntropy entropy =
        softmax_cross_entropy(context, forward(context, batch), batch.labels);
    results.push_back(
        {.loss = entropy.loss.value(), .correct = entropy.correct, .rows = batch.count});
  }
  for (const StepResult& result : results) {
    evaluation.loss += result.loss.item(stream) * static_cast<double>(result.rows);
    evaluation.accuracy += result.correct.item(stream);
  }
  evaluation.loss /= static_cast<double>(evaluation.samples);
  evaluation.accuracy /= static_cast<double>(evaluation.samples);
  evaluation.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return evaluation;
}

}  // namespace flyball

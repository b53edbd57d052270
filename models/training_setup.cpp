#include "models/training_setup.h"

#include "schedulers/schedules.h"

namespace flyball {
namespace {

std::unique_ptr<Optimizer> make_optimizer(const RunOptions& options, const Stream& stream,
                                          ParameterArena& arena, const LearningRate& rate) {
  if (options.optimizer == "sgd") {
    return std::make_unique<Sgd>(
        stream, arena, rate,
        SgdOptions{.weight_decay = options.weight_decay, .clip_norm = options.clip_norm});
  }
  return std::make_unique<Adam>(
      stream, arena, rate,
      AdamOptions{.weight_decay = options.weight_decay, .clip_norm = options.clip_norm});
}

}  // namespace

TrainingSetup::TrainingSetup(Task& task, const RunOptions& options)
    : options_(options), stream_(parse_device(options.device)), init_(stream_, options.seed) {
  const Precision precision = parse_precision(options.precision);
  check_precision(precision, stream_.device());
  dataset_ = task.load(options, Part::training);
  test_dataset_ = task.load(options, Part::test);
  const Split split = split_by_seed(dataset_->size(), options.validation_fraction, options.seed,
                                    options.limit_train, options.limit_eval);
  if (split.training.empty()) {
    throw Error(str("--validation-fraction is ", options.validation_fraction,
                    ": no training sample is left of the ", dataset_->size(), " of ",
                    dataset_->name()));
  }
  training_ = dataset_->loader(stream_, split.training, options, Use::training);
  if (!split.validation.empty()) {
    validation_ = dataset_->loader(stream_, split.validation, options, Use::evaluation);
  }
  model_ = task.make_model(options, init_);
  arena_ = std::make_unique<ParameterArena>(stream_, *model_.module);
  rate_ =
      std::make_unique<LearningRate>(stream_,
                                     make_rule(options.schedule, options.learning_rate,
                                               parse_schedule_options(options.schedule_options)),
                                     Horizon{.steps_per_epoch = steps_per_epoch(),
                                             .total_steps = options.epochs * steps_per_epoch()});
  optimizer_ = make_optimizer(options, stream_, *arena_, *rate_);
  trainer_ = std::make_unique<Trainer>(
      stream_, model_.forward, *optimizer_, *rate_,
      TrainerOptions{.seed = options.seed,
                     .label_smoothing = options.label_smoothing,
                     .precision = precision,
                     .recompute = parse_recompute(options.recompute, stream_.device()),
                     .eval_every = options.eval_every,
                     .save_every = options.save_every > 0 ? options.save_every : steps_per_epoch(),
                     .capture = !options.eager});
}

Evaluation TrainingSetup::test() {
  const auto loader =
      test_dataset_->loader(stream_, first_indices(test_dataset_->size(), options_.limit_eval),
                            options_, Use::evaluation);
  return trainer_->evaluate(*loader, "test");
}

}  // namespace flyball

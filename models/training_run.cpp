#include "models/training_run.h"

#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>

#include "framework/allocator.h"
#include "framework/safetensors.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/parallel.h"
#include "models/recorder.h"
#include "models/run_config.h"
#include "models/saved_model.h"
#include "models/terminal.h"
#include "schedulers/schedules.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

std::string default_folder(const std::string& model) {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", std::localtime(&now));
  std::string folder = "runs/" + model + "-" + text;
  for (int attempt = 2; fs::exists(folder); ++attempt)
    folder = str("runs/", model, "-", text, "-", attempt);
  return folder;
}

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

std::unique_ptr<DataLoader> test_loader(const LabelledSet& test, const RunOptions& options,
                                        const Stream& stream) {
  return test.loader(stream, first_indices(test.size(), options.limit_eval), options,
                     Use::evaluation);
}

// A run of --eval-only.
void score_checkpoint(Task& task, const RunOptions& options) {
  const Stream stream(parse_device(options.device));
  const Precision precision = parse_precision(options.precision);
  check_precision(precision, stream.device());
  const fs::path checkpoint(options.checkpoint);
  std::error_code failure;
  const bool is_folder = fs::is_directory(checkpoint, failure);
  task.restore(is_folder ? checkpoint : checkpoint.parent_path());
  Initializer init(stream, options.seed);
  const Model model = task.make_model(options, init);
  load_model(is_folder ? checkpoint / "model.safetensors" : checkpoint, *model.module, stream);
  const std::unique_ptr<LabelledSet> set = task.load(options, Part::test);
  const Evaluation test =
      evaluate(stream, model.forward, *test_loader(*set, options, stream), "test", precision);
  const Json result = evaluation_json(test);
  if (options.json) {
    std::cout << text_of(result) << '\n';
    return;
  }
  std::printf("\n%s on the test data\n", options.checkpoint.c_str());
  print_evaluation(test);
}

void train(Task& task, RunOptions options) {
  // Everything that can be refused is refused before the run folder is touched.
  const Stream stream(parse_device(options.device));
  const Precision precision = parse_precision(options.precision);
  check_precision(precision, stream.device());
  const std::unique_ptr<LabelledSet> dataset = task.load(options, Part::training);
  const std::unique_ptr<LabelledSet> test_dataset = task.load(options, Part::test);
  const Split split = split_by_seed(dataset->size(), options.validation_fraction, options.seed,
                                    options.limit_train, options.limit_eval);
  if (split.training.empty()) {
    throw Error(str("--validation-fraction is ", options.validation_fraction,
                    ": no training sample is left of the ", dataset->size(), " of ",
                    dataset->name()));
  }
  const auto training = dataset->loader(stream, split.training, options, Use::training);
  std::unique_ptr<DataLoader> validation;
  if (!split.validation.empty()) {
    validation = dataset->loader(stream, split.validation, options, Use::evaluation);
  }
  Initializer init(stream, options.seed);
  const Model model = task.make_model(options, init);
  ParameterArena arena(stream, *model.module);
  const int64_t steps_per_epoch = training->batches_per_epoch();
  LearningRate rate(
      stream,
      make_rule(options.schedule, options.learning_rate,
                parse_schedule_options(options.schedule_options)),
      {.steps_per_epoch = steps_per_epoch, .total_steps = options.epochs * steps_per_epoch});
  const auto optimizer = make_optimizer(options, stream, arena, rate);
  Trainer trainer(stream, model.forward, *optimizer, rate,
                  {.seed = options.seed,
                   .label_smoothing = options.label_smoothing,
                   .precision = precision,
                   .eval_every = options.eval_every,
                   .save_every = options.save_every,
                   .capture = !options.eager});

  if (options.out.empty()) options.out = default_folder(options.model);
  RunFolder folder(options.out, options.overwrite);
  folder.write_config(text_of(config_of(options), 2));
  task.save(folder.path());
  if (!options.json) {
    std::fprintf(
        stderr, "%s: %s parameters, %s training and %s validation samples of %s, %s, %d thread%s\n",
        options.model.c_str(), count_text(parameter_count(*model.module)).c_str(),
        count_text(training->samples()).c_str(),
        count_text(static_cast<int64_t>(split.validation.size())).c_str(), dataset->name().c_str(),
        options.device.c_str(), options.threads, options.threads == 1 ? "" : "s");
  }
  Progress progress(options.epochs, steps_per_epoch, training->samples(), options.json);
  const auto save = [&](const fs::path& path) {
    save_model(path, *model.module, stream,
               {{"model", options.model}, {"variant", options.variant}});
  };
  Recorder recorder(folder, progress, save);
  const auto start = std::chrono::steady_clock::now();
  try {
    trainer.fit(*training, validation.get(), options.epochs, recorder);
  } catch (...) {
    // A run without a step, out of memory in its first for example, has nothing worth keeping.
    if (recorder.steps == 0) folder.discard();
    throw;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  save(folder.model_file());
  const Evaluation test = trainer.evaluate(*test_loader(*test_dataset, options, stream), "test");
  folder.add_evaluation(test, recorder.steps, options.epochs);
  progress.on_evaluation(test);

  Json summary{{"model", options.model},
               {"schedule", options.schedule},
               {"learning_rate", options.learning_rate},
               {"seed", options.seed},
               {"parameters", parameter_count(*model.module)},
               {"epochs", options.epochs},
               {"steps", recorder.steps},
               {"train_seconds", seconds},
               {"train_loss", recorder.epoch_loss / recorder.epoch_steps},
               {"highest_learning_rate", recorder.highest_rate},
               {"skipped_steps", recorder.skipped},
               {"rollbacks", recorder.rollbacks}};
  if (validation != nullptr) {
    summary["validation_loss"] = recorder.validation.loss;
    summary["validation_accuracy"] = recorder.validation.accuracy;
    summary["best_validation_loss"] = recorder.best.loss;
    summary["best_validation_accuracy"] = recorder.best.accuracy;
    summary["best_step"] = recorder.best_step;
  }
  summary["test_loss"] = test.loss;
  summary["test_accuracy"] = test.accuracy;
  summary["peak_memory_bytes"] = peak_memory_bytes();
  if (stream.device().kind == Device::Kind::cuda) {
    const AllocatorCounters device = allocator(stream.device()).counters();
    summary["device_memory_bytes"] = device.live_bytes + device.cached_bytes;
  }
  summary["folder"] = folder.path().string();
  folder.write_summary(text_of(summary, 2));
  if (options.json) {
    std::cout << text_of(summary) << '\n';
    return;
  }
  std::vector<std::pair<std::string, std::string>> rows{
      {"schedule", options.schedule + ", --lr " + number("%g", options.learning_rate) +
                       ", highest rate " + number("%.2e", recorder.highest_rate)},
      {"steps", count_text(recorder.steps) + " in " + duration_text(seconds)},
      {"training loss",
       number("%.4f", recorder.epoch_loss / recorder.epoch_steps) + " (mean of the last epoch)"}};
  if (validation != nullptr) {
    rows.emplace_back("validation", number("loss %.4f", recorder.validation.loss) + ", accuracy " +
                                        percent(recorder.validation.accuracy));
    rows.emplace_back("best validation", "accuracy " + percent(recorder.best.accuracy) +
                                             " after step " + count_text(recorder.best_step));
  }
  rows.emplace_back("test",
                    number("loss %.4f", test.loss) + ", accuracy " + percent(test.accuracy));
  rows.emplace_back("peak memory",
                    number("%.0f MB", static_cast<double>(peak_memory_bytes()) / 1e6));
  rows.emplace_back("metrics", (folder.path() / "metrics.jsonl").string());
  rows.emplace_back("summary", (folder.path() / "summary.json").string());
  rows.emplace_back("weights", folder.model_file().string());
  std::printf("\n%s\n", options.model.c_str());
  print_table(rows);
}

}  // namespace

int run_program(Task& task, int argc, char** argv) {
  return run_main(task.binary().model, [&] {
    const RunOptions options = parse_run_options(task.binary(), argc, argv);
    cpu::backend();  // reads FLYBALL_CPU_BACKEND: a wrong value is refused here
    cpu::set_threads(options.threads);
    if (options.eval_only) {
      score_checkpoint(task, options);
    } else {
      train(task, options);
    }
    return 0;
  });
}

}  // namespace flyball

#include "models/training_run.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "framework/allocator.h"
#include "framework/progress.h"
#include "framework/run_folder.h"
#include "framework/safetensors.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/parallel.h"
#include "schedulers/schedules.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Paths need not be UTF-8, JSON must be.
std::string text_of(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json config_of(const RunOptions& options) {
  Json config{{"model", options.model}};
  if (!options.variant.empty()) config["variant"] = options.variant;
  if (options.width > 0) {
    config["width"] = options.width;
    config["zero_last_gamma"] = options.zero_last_gamma;
  }
  config.update(Json{{"data", options.data.empty() ? "sample" : options.data},
                     {"epochs", options.epochs},
                     {"batch_size", options.batch_size},
                     {"learning_rate", options.learning_rate},
                     {"schedule", options.schedule},
                     {"seed", options.seed},
                     {"device", options.device},
                     {"residence", options.residence},
                     {"eager", options.eager},
                     {"precision", options.precision},
                     {"threads", options.threads},
                     {"limit_train", options.limit_train},
                     {"limit_eval", options.limit_eval},
                     {"validation_fraction", options.validation_fraction},
                     {"optimizer", options.optimizer},
                     {"weight_decay", options.weight_decay},
                     {"clip_norm", options.clip_norm},
                     {"augment", options.augment},
                     {"label_smoothing", options.label_smoothing}});
  return config;
}

std::string default_folder(const std::string& model) {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", std::localtime(&now));
  std::string folder = "runs/" + model + "-" + text;
  for (int attempt = 2; fs::exists(folder); ++attempt)
    folder = str("runs/", model, "-", text, "-", attempt);
  return folder;
}

// Passes what the trainer reports to the folder and the progress line, and remembers what the
// summary needs.
class Recorder : public TrainingObserver {
 public:
  Recorder(RunFolder& folder, Progress& progress) : folder_(folder), progress_(progress) {}

  void on_steps(const std::vector<StepRecord>& records, int64_t steps_per_epoch) override {
    folder_.add_steps(records, steps_per_epoch);
    progress_.on_steps(records);
    for (const StepRecord& record : records) {
      ++steps;
      skipped += record.skipped;
      rollbacks += record.action == Action::kRollback ? 1 : 0;
      rate = record.learning_rate;
      highest_rate = std::max(highest_rate, record.learning_rate);
      if (record.step % steps_per_epoch == 0) epoch_loss = epoch_steps = 0;
      if (!std::isfinite(record.loss)) continue;
      epoch_loss += record.loss;
      epoch_steps += 1;
    }
  }
  void on_evaluation(const Evaluation& evaluation, int64_t step, int64_t epoch) override {
    folder_.add_evaluation(evaluation, step, epoch);
    progress_.on_evaluation(evaluation);
    validation = evaluation;
    best_validation_accuracy = std::max(best_validation_accuracy, evaluation.accuracy);
  }

  int64_t steps = 0, skipped = 0, rollbacks = 0;
  double rate = 0, highest_rate = 0;
  double epoch_loss = 0, epoch_steps = 0;  // of the epoch in progress
  Evaluation validation;
  double best_validation_accuracy = 0;

 private:
  RunFolder& folder_;
  Progress& progress_;
};

void print_table(const std::vector<std::pair<std::string, std::string>>& rows) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.first.size());
  for (const auto& [name, value] : rows) {
    std::printf("  %-*s  %s\n", static_cast<int>(width), name.c_str(), value.c_str());
  }
}

std::string percent(double fraction) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", 100 * fraction);
  return text;
}

std::string number(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
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

Residence residence_of(const RunOptions& options) {
  if (options.residence == "host") return Residence::host;
  return options.residence == "device" ? Residence::device : Residence::automatic;
}

Evaluation evaluate_test(const ImageDataset& test, const RunOptions& options, const Stream& stream,
                         const Model& model) {
  DataLoader loader(
      stream, test, first_indices(test.size(), options.limit_eval),
      {.batch_size = options.batch_size, .shuffle = false, .residence = residence_of(options)});
  return evaluate(stream, model.forward, loader, "test", parse_precision(options.precision));
}

void score(const TrainingProgram& program, const RunOptions& options) {
  const Stream stream(parse_device(options.device));
  check_precision(parse_precision(options.precision), stream.device());
  Initializer init(stream, options.seed);
  const Model model = program.make_model(options, init);
  const fs::path checkpoint(options.checkpoint);
  std::error_code no_folder;
  load_model(
      fs::is_directory(checkpoint, no_folder) ? checkpoint / "model.safetensors" : checkpoint,
      *model.module, stream);
  const ImageDataset dataset(program.load_data(options, true));
  const Evaluation test = evaluate_test(dataset, options, stream, model);
  const Json result{{"split", test.split},
                    {"eval_loss", test.loss},
                    {"eval_accuracy", test.accuracy},
                    {"eval_runtime", test.seconds},
                    {"eval_samples_per_second", static_cast<double>(test.samples) / test.seconds},
                    {"eval_steps_per_second", static_cast<double>(test.steps) / test.seconds}};
  if (options.json) {
    std::cout << text_of(result) << '\n';
    return;
  }
  std::printf("\n%s on the test data\n", options.checkpoint.c_str());
  print_table({{"samples", count_text(test.samples)},
               {"loss", number("%.4f", test.loss)},
               {"accuracy", percent(test.accuracy)},
               {"seconds", number("%.1f", test.seconds)}});
}

void train(const TrainingProgram& program, RunOptions options) {
  // Everything that can be refused is refused before the run folder is touched.
  const Stream stream(parse_device(options.device));
  const Precision precision = parse_precision(options.precision);
  check_precision(precision, stream.device());
  const ImageDataset dataset(program.load_data(options, false));
  const ImageDataset test_dataset(program.load_data(options, true));
  const Split split = split_by_seed(dataset.size(), options.validation_fraction, options.seed,
                                    options.limit_train, options.limit_eval);
  if (split.training.empty()) {
    throw Error(str("--validation-fraction is ", options.validation_fraction,
                    ": no training sample is left of the ", dataset.size(), " of ",
                    dataset.name()));
  }
  Augmentation augmentation;
  if (options.augment == "flip-rotate")
    augmentation = {.flip_probability = 0.5, .rotation_degrees = 10};
  if (options.augment == "crop-flip") augmentation = {.flip_probability = 0.5, .crop_padding = 4};
  DataLoader training(stream, dataset, split.training,
                      {.batch_size = options.batch_size,
                       .seed = options.seed,
                       .augmentation = augmentation,
                       .residence = residence_of(options)});
  std::unique_ptr<DataLoader> validation;
  if (!split.validation.empty()) {
    validation =
        std::make_unique<DataLoader>(stream, dataset, split.validation,
                                     DataLoaderOptions{.batch_size = options.batch_size,
                                                       .shuffle = false,
                                                       .residence = residence_of(options)});
  }
  Initializer init(stream, options.seed);
  const Model model = program.make_model(options, init);
  ParameterArena arena(stream, *model.module);
  const int64_t steps_per_epoch = training.batches_per_epoch();
  LearningRate rate(
      stream, make_rule(options.schedule, options.learning_rate),
      {.steps_per_epoch = steps_per_epoch, .total_steps = options.epochs * steps_per_epoch});
  const auto optimizer = make_optimizer(options, stream, arena, rate);
  Trainer trainer(stream, model.forward, *optimizer, rate,
                  {.seed = options.seed,
                   .label_smoothing = options.label_smoothing,
                   .precision = precision,
                   .capture = !options.eager});

  if (options.out.empty()) options.out = default_folder(options.model);
  RunFolder folder(options.out, options.overwrite);
  folder.write_config(text_of(config_of(options), 2));
  if (!options.json) {
    std::fprintf(
        stderr, "%s: %s parameters, %s training and %s validation samples of %s, %s, %d thread%s\n",
        options.model.c_str(), count_text(parameter_count(*model.module)).c_str(),
        count_text(training.samples()).c_str(),
        count_text(static_cast<int64_t>(split.validation.size())).c_str(), dataset.name().c_str(),
        options.device.c_str(), options.threads, options.threads == 1 ? "" : "s");
  }
  Progress progress(options.epochs, steps_per_epoch, training.samples(), options.json);
  Recorder recorder(folder, progress);
  const auto start = std::chrono::steady_clock::now();
  try {
    trainer.fit(training, validation.get(), options.epochs, recorder);
  } catch (...) {
    // A run without a step, out of memory in its first for example, has nothing worth keeping.
    if (recorder.steps == 0) folder.discard();
    throw;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  save_model(folder.model_file(), *model.module, stream,
             {{"model", options.model}, {"variant", options.variant}});
  const Evaluation test = evaluate_test(test_dataset, options, stream, model);
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
    summary["best_validation_accuracy"] = recorder.best_validation_accuracy;
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

int run_program(const TrainingProgram& program, int argc, char** argv) {
  try {
    const RunOptions options = parse_run_options(program.binary, argc, argv);
    cpu::backend();  // reads FLYBALL_CPU_BACKEND: a wrong value is refused here
    cpu::set_threads(options.threads);
    if (options.eval_only) {
      score(program, options);
    } else {
      train(program, options);
    }
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: error: %s\n", program.binary.model.c_str(), error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: failed: %s\n", program.binary.model.c_str(), error.what());
    return 1;
  }
}

}  // namespace flyball

#include "models/run_summary.h"

#include "framework/allocator.h"
#include "models/terminal.h"

namespace flyball {

Json summary_json(const RunSummary& summary) {
  const RunOptions& options = summary.options;
  const Recorder& recorder = summary.recorder;
  Json json{{"model", options.model},
            {"schedule", options.schedule},
            {"learning_rate", options.learning_rate},
            {"seed", options.seed},
            {"parameters", parameter_count(summary.setup.module())},
            {"epochs", options.epochs},
            {"steps", recorder.steps},
            {"train_seconds", summary.folder.training_seconds()},
            {"train_loss", recorder.epoch_loss / recorder.epoch_steps},
            {"highest_learning_rate", recorder.highest_rate},
            {"skipped_steps", recorder.skipped},
            {"rollbacks", recorder.rollbacks}};
  if (summary.setup.validation() != nullptr) {
    json["validation_loss"] = recorder.validation.loss;
    json["validation_accuracy"] = recorder.validation.accuracy;
    json["best_validation_loss"] = recorder.best.loss;
    json["best_validation_accuracy"] = recorder.best.accuracy;
    json["best_step"] = recorder.best_step;
  }
  json["test_loss"] = summary.test.loss;
  json["test_accuracy"] = summary.test.accuracy;
  json["peak_memory_bytes"] = peak_memory_bytes();
  const Device device = summary.setup.stream().device();
  if (device.kind == Device::Kind::cuda) {
    const AllocatorCounters counters = allocator(device).counters();
    json["device_memory_bytes"] = counters.live_bytes + counters.cached_bytes;
  }
  json["folder"] = summary.folder.path().string();
  return json;
}

void print_summary(const RunSummary& summary) {
  const RunOptions& options = summary.options;
  const Recorder& recorder = summary.recorder;
  const std::string asked = options.schedule == "adaptive"  // finds its own
                                ? ""
                                : ", --lr " + number("%g", options.learning_rate);
  std::vector<std::pair<std::string, std::string>> rows{
      {"schedule",
       options.schedule + asked + ", highest rate " + number("%.2e", recorder.highest_rate)},
      {"steps",
       count_text(recorder.steps) + " in " + duration_text(summary.folder.training_seconds())},
      {"training loss",
       number("%.4f", recorder.epoch_loss / recorder.epoch_steps) + " (mean of the last epoch)"}};
  if (summary.setup.validation() != nullptr) {
    rows.emplace_back("validation", number("loss %.4f", recorder.validation.loss) + ", accuracy " +
                                        percent(recorder.validation.accuracy));
    rows.emplace_back("best validation", "accuracy " + percent(recorder.best.accuracy) +
                                             " after step " + count_text(recorder.best_step));
  }
  rows.emplace_back("test", number("loss %.4f", summary.test.loss) + ", accuracy " +
                                percent(summary.test.accuracy));
  rows.emplace_back("peak memory",
                    number("%.0f MB", static_cast<double>(peak_memory_bytes()) / 1e6));
  rows.emplace_back("metrics", (summary.folder.path() / "metrics.jsonl").string());
  rows.emplace_back("summary", (summary.folder.path() / "summary.json").string());
  rows.emplace_back("weights", summary.folder.model_file().string());
  std::printf("\n%s\n", options.model.c_str());
  print_table(rows);
}

}  // namespace flyball

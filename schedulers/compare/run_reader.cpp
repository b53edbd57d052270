#include "schedulers/compare/run_reader.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Step {
  double epoch, loss, accuracy, rate, seconds;
};

// JSON has no NaN: figures that are not finite are null.
double number_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_number() ? kNan : found->get<double>();
}

std::optional<Json> read_json(const fs::path& file) {
  std::ifstream in(file);
  if (!in) return std::nullopt;
  Json json = Json::parse(in, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

// The summary of a complete run of this cell.
std::optional<Json> read_summary(const fs::path& folder, const ModelPlan& task, const Cell& cell) {
  const std::optional<Json> config = read_json(folder / "config.json");
  if (!config.has_value()) return std::nullopt;
  const bool same = config->value("model", "") == cell.model &&
                    config->value("schedule", "") == parse_schedule(cell.schedule).name &&
                    number_of(*config, "learning_rate") == cell.learning_rate &&
                    config->value("seed", uint64_t{0}) == cell.seed &&
                    config->value("epochs", int64_t{0}) == task.epochs;
  if (!same) return std::nullopt;
  return read_json(folder / "summary.json");
}

void read_metrics(const fs::path& file, std::vector<Step>& steps, Run& run) {
  std::ifstream in(file);
  int64_t number = 0;
  for (std::string text; std::getline(in, text);) {
    const Json line = Json::parse(text, nullptr, false);
    ++number;
    if (!line.is_object()) throw Error(str(file.string(), ": line ", number, " is not JSON"));
    if (line.contains("train_loss")) {
      steps.push_back({.epoch = number_of(line, "epoch"),
                       .loss = number_of(line, "train_loss"),
                       .accuracy = number_of(line, "train_accuracy"),
                       .rate = number_of(line, "learning_rate"),
                       .seconds = number_of(line, "seconds")});
    } else if (line.value("split", "") == "validation") {
      run.validations.push_back({.step = line.value("step", int64_t{0}),
                                 .epoch = number_of(line, "epoch"),
                                 .seconds = number_of(line, "seconds"),
                                 .loss = number_of(line, "eval_loss"),
                                 .accuracy = number_of(line, "eval_accuracy")});
    }
  }
}

CurvePoint mean_of(const std::vector<Step>& steps, size_t begin, size_t end) {
  double loss = 0, accuracy = 0, log_rate = 0;
  int64_t finite = 0, rates = 0;
  for (size_t i = begin; i < end; ++i) {
    if (std::isfinite(steps[i].loss)) {
      loss += steps[i].loss;
      accuracy += steps[i].accuracy;
      ++finite;
    }
    if (steps[i].rate > 0) {
      log_rate += std::log(steps[i].rate);
      ++rates;
    }
  }
  const auto mean = [](double sum, int64_t count) {
    return count > 0 ? sum / static_cast<double>(count) : kNan;
  };
  return {.epoch = steps[end - 1].epoch,
          .loss = mean(loss, finite),
          .accuracy = mean(accuracy, finite),
          .learning_rate = std::exp(mean(log_rate, rates))};
}

void add_curve(const std::vector<Step>& steps, Run& run) {
  const size_t points = std::min<size_t>(steps.size(), kCurvePoints);
  for (size_t i = 0; i < points; ++i) {
    run.curve.push_back(mean_of(steps, i * steps.size() / points, (i + 1) * steps.size() / points));
  }
}

// Area, trailing mean and its records. A step without a finite loss counts with the one before it.
void add_losses(const std::vector<Step>& steps, int64_t steps_per_epoch, Run& run) {
  const auto window = static_cast<size_t>(std::min(kTrailingSteps, steps_per_epoch));
  std::vector<double> losses;
  double trailing = 0, area = 0, lowest = std::numeric_limits<double>::infinity();
  double latest = kNan;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (std::isfinite(steps[i].loss)) latest = steps[i].loss;
    if (std::isnan(latest)) continue;
    losses.push_back(latest);
    area += latest;
    trailing += latest;
    if (losses.size() > window) trailing -= losses[losses.size() - 1 - window];
    if (losses.size() < window) continue;
    const double mean = trailing / static_cast<double>(window);
    if (mean >= lowest) continue;
    lowest = mean;
    run.records.push_back(
        {.loss = mean, .seconds = steps[i].seconds, .step = static_cast<int64_t>(i) + 1});
  }
  run.loss_area = losses.empty() ? kNan : area / static_cast<double>(steps_per_epoch);
}

void add_validations(Run& run) {
  run.final_validation_loss = run.final_validation_accuracy = kNan;
  run.best_validation_loss = run.best_validation_accuracy = kNan;
  if (run.validations.empty()) return;
  run.final_validation_loss = run.validations.back().loss;
  run.final_validation_accuracy = run.validations.back().accuracy;
  for (const ValidationPoint& point : run.validations) {
    run.best_validation_loss = std::fmin(run.best_validation_loss, point.loss);
    run.best_validation_accuracy = std::fmax(run.best_validation_accuracy, point.accuracy);
  }
}

}  // namespace

bool is_complete(const fs::path& folder, const ModelPlan& task, const Cell& cell) {
  return read_summary(folder, task, cell).has_value();
}

std::optional<Run> read_run(const fs::path& folder, const ModelPlan& task, const Cell& cell) {
  const std::optional<Json> summary = read_summary(folder, task, cell);
  if (!summary.has_value()) return std::nullopt;
  Run run{.cell = cell,
          .epochs = task.epochs,
          .steps = summary->value("steps", int64_t{0}),
          .parameters = summary->value("parameters", int64_t{0}),
          .final_loss = number_of(*summary, "train_loss"),
          .highest_rate = number_of(*summary, "highest_learning_rate"),
          .skipped_steps = summary->value("skipped_steps", int64_t{0}),
          .rollbacks = summary->value("rollbacks", int64_t{0}),
          .peak_memory_bytes = summary->value("peak_memory_bytes", int64_t{0}),
          .test_loss = number_of(*summary, "test_loss"),
          .test_accuracy = number_of(*summary, "test_accuracy")};
  std::vector<Step> steps;
  read_metrics(folder / "metrics.jsonl", steps, run);
  if (steps.empty()) throw Error(str((folder / "metrics.jsonl").string(), ": holds no step"));
  run.seconds = steps.back().seconds;
  run.final_rate = steps.back().rate;
  add_curve(steps, run);
  add_losses(steps, std::max<int64_t>(1, std::llround(1 / steps.front().epoch)), run);
  add_validations(run);
  return run;
}

RunProgress read_progress(const fs::path& folder, int64_t epochs) {
  constexpr std::streamoff kTail = 4096;
  std::ifstream in(folder / "metrics.jsonl", std::ios::binary | std::ios::ate);
  if (!in) return {};
  in.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(in.tellg()) - kTail));
  RunProgress progress;
  for (std::string text; std::getline(in, text);) {
    const Json line = Json::parse(text, nullptr, false);
    if (!line.is_object()) continue;  // cut off at either end
    const double share = number_of(line, "epoch") / static_cast<double>(epochs);
    if (share > 0)
      progress = {.share = std::min(1.0, share), .seconds = number_of(line, "seconds")};
  }
  return progress;
}

}  // namespace flyball

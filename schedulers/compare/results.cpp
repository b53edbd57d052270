#include "schedulers/compare/results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "schedulers/compare/text.h"

namespace flyball {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr Reached kNever{.steps = kNan, .seconds = kNan};

// The loss to reach for each model and rate.
std::map<std::pair<std::string, double>, double> baseline_losses(const std::vector<Run>& runs,
                                                                 const Plan& plan) {
  std::map<std::pair<std::string, double>, double> lowest;
  for (const std::string& baseline : plan.baselines) {
    std::map<std::pair<std::string, double>, std::pair<double, int64_t>> sums;
    for (const Run& run : runs) {
      if (run.cell.schedule != baseline || !std::isfinite(run.final_loss)) continue;
      auto& [sum, count] = sums[{run.cell.model, run.cell.learning_rate}];
      sum += run.final_loss;
      ++count;
    }
    for (const auto& [key, sum] : sums) {
      const double mean = sum.first / static_cast<double>(sum.second);
      const auto found = lowest.try_emplace(key, mean).first;
      found->second = std::min(found->second, mean);
    }
  }
  return lowest;
}

}  // namespace

Reached reach_threshold(const Run& run, const Threshold& threshold) {
  for (const ValidationPoint& point : run.validations) {
    const bool reached =
        threshold.is_loss ? point.loss <= threshold.value : point.accuracy >= threshold.value;
    if (reached) return {.steps = static_cast<double>(point.step), .seconds = point.seconds};
  }
  return kNever;
}

Reached reach_loss(const Run& run, double loss) {
  for (const LossRecord& record : run.records) {
    if (record.loss <= loss)
      return {.steps = static_cast<double>(record.step), .seconds = record.seconds};
  }
  return kNever;
}

const std::vector<Column>& columns() {
  using enum Column::Better;
  static const std::vector<Column> all{
      {"epochs", neither, [](const Row& row) { return static_cast<double>(row.run.epochs); }},
      {"steps", neither, [](const Row& row) { return static_cast<double>(row.run.steps); }},
      {"train_seconds", lower, [](const Row& row) { return row.run.seconds; }},
      {"train_loss", lower, [](const Row& row) { return row.run.final_loss; }},
      {"loss_area", lower, [](const Row& row) { return row.run.loss_area; }},
      {"validation_loss", lower, [](const Row& row) { return row.run.final_validation_loss; }},
      {"best_validation_loss", lower, [](const Row& row) { return row.run.best_validation_loss; }},
      {"validation_accuracy", higher,
       [](const Row& row) { return row.run.final_validation_accuracy; }},
      {"best_validation_accuracy", higher,
       [](const Row& row) { return row.run.best_validation_accuracy; }},
      {"test_loss", lower, [](const Row& row) { return row.run.test_loss; }},
      {"test_accuracy", higher, [](const Row& row) { return row.run.test_accuracy; }},
      {"steps_to_threshold", lower, [](const Row& row) { return row.at_threshold.steps; }},
      {"seconds_to_threshold", lower, [](const Row& row) { return row.at_threshold.seconds; }},
      {"baseline_loss", neither, [](const Row& row) { return row.baseline_loss; }},
      {"steps_to_baseline_loss", lower, [](const Row& row) { return row.at_baseline_loss.steps; }},
      {"seconds_to_baseline_loss", lower,
       [](const Row& row) { return row.at_baseline_loss.seconds; }},
      {"highest_learning_rate", neither, [](const Row& row) { return row.run.highest_rate; }},
      {"final_learning_rate", neither, [](const Row& row) { return row.run.final_rate; }},
      {"skipped_steps", neither,
       [](const Row& row) { return static_cast<double>(row.run.skipped_steps); }},
      {"rollbacks", neither, [](const Row& row) { return static_cast<double>(row.run.rollbacks); }},
      {"peak_memory_bytes", neither,
       [](const Row& row) { return static_cast<double>(row.run.peak_memory_bytes); }},
  };
  return all;
}

std::vector<Row> make_rows(const std::vector<Run>& runs, const Plan& plan) {
  const auto losses = baseline_losses(runs, plan);
  std::vector<Row> rows;
  for (const Run& run : runs) {
    const Threshold threshold = plan.task(run.cell.model).threshold;
    const auto loss = losses.find({run.cell.model, run.cell.learning_rate});
    rows.push_back({.run = run,
                    .threshold = threshold,
                    .at_threshold = reach_threshold(run, threshold),
                    .at_baseline_loss = kNever,
                    .baseline_loss = loss == losses.end() ? kNan : loss->second});
    if (loss != losses.end()) rows.back().at_baseline_loss = reach_loss(run, loss->second);
  }
  return rows;
}

std::string results_csv(const std::vector<Row>& rows, const std::vector<Failure>& failures) {
  std::string text = "model,schedule,learning_rate,seed,status,threshold";
  for (const Column& column : columns()) text += str(',', column.name);
  text += ",error\n";
  const auto begin = [&](const Cell& cell, const char* status) {
    text += str(csv_field(cell.model), ',', csv_field(cell.schedule), ',',
                number_text(cell.learning_rate), ',', cell.seed, ',', status);
  };
  for (const Row& row : rows) {
    begin(row.run.cell, "complete");
    text += ',' + threshold_text(row.threshold);
    for (const Column& column : columns()) {
      const double value = column.value(row);
      text += ',' + (std::isfinite(value) ? number_text(value) : "");
    }
    text += ",\n";
  }
  for (const Failure& failure : failures) {
    begin(failure.cell, "failed");
    text += ',' + std::string(columns().size(), ',') + ',' + csv_field(failure.error) + '\n';
  }
  return text;
}

std::string results_jsonl(const std::vector<Row>& rows, const std::vector<Failure>& failures) {
  std::string text;
  const auto begin = [](const Cell& cell, const char* status) {
    return Json{{"model", cell.model},
                {"schedule", cell.schedule},
                {"learning_rate", cell.learning_rate},
                {"seed", cell.seed},
                {"status", status}};
  };
  const auto end = [&](const Json& line) {
    text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  };
  for (const Row& row : rows) {
    Json line = begin(row.run.cell, "complete");
    line["threshold"] = threshold_text(row.threshold);
    for (const Column& column : columns()) line[column.name] = column.value(row);
    end(line);
  }
  for (const Failure& failure : failures) {
    Json line = begin(failure.cell, "failed");
    line["error"] = failure.error;
    end(line);
  }
  return text;
}

}  // namespace flyball

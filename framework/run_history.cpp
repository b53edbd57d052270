#include "framework/run_history.h"

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "framework/write_file.h"

namespace flyball {
namespace {

using Json = nlohmann::json;

// JSON has no NaN: it is written as null.
double number_in(const Json& line, const char* name) {
  const Json& value = line.at(name);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

StepRecord record_in(const Json& line) {
  StepRecord record;
  record.step = line.at("step").get<int64_t>();
  record.loss = number_in(line, "train_loss");
  record.correct_fraction = number_in(line, "train_accuracy");
  record.learning_rate = number_in(line, "learning_rate");
  record.skipped = line.value("skipped", false) ? 1 : 0;
  const std::string action = line.value("action", "");
  if (action == "rollback") record.action = Action::kRollback;
  if (action == "snapshot") record.action = Action::kSnapshot;
  return record;
}

Evaluation evaluation_in(const Json& line) {
  Evaluation evaluation;
  evaluation.split = line.at("split").get<std::string>();
  evaluation.loss = number_in(line, "eval_loss");
  evaluation.accuracy = number_in(line, "eval_accuracy");
  evaluation.seconds = number_in(line, "eval_runtime");
  return evaluation;
}

// Adds a line that belongs to the first `steps` steps; false where it belongs to later ones.
bool add_line(const Json& line, int64_t steps, RunHistory& history) {
  const auto step = line.at("step").get<int64_t>();
  if (line.contains("split")) {
    if (step > steps) return false;
    history.evaluations.emplace_back(evaluation_in(line), step);
    return true;
  }
  if (step >= steps) return false;
  history.records.push_back(record_in(line));
  history.step_seconds.push_back(number_in(line, "seconds"));
  return true;
}

}  // namespace

RunHistory cut_metrics(const std::filesystem::path& metrics, int64_t steps) {
  std::ifstream in(metrics);
  if (!in) throw Error(str(metrics.string(), ": cannot open"));
  RunHistory history;
  std::string kept;
  for (std::string line; std::getline(in, line);) {
    try {
      if (add_line(Json::parse(line), steps, history)) kept += line + '\n';
    } catch (const Json::exception&) {
      break;  // a program that was killed while it wrote
    }
  }
  if (static_cast<int64_t>(history.records.size()) != steps) {
    throw Error(str(metrics.string(), ": holds ", history.records.size(),
                    " of the first steps, expected ", steps));
  }
  write_whole_file(metrics, kept);
  return history;
}

}  // namespace flyball

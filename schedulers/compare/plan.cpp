#include "schedulers/compare/plan.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/error.h"
#include "schedulers/compare/text.h"

namespace flyball {
namespace {

// Schedules become names of folders.
bool is_word(const std::string& text) {
  return !text.empty() && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '+';
         });
}

template <class Values>
void require_distinct(const char* flag, const Values& values) {
  if (values.empty()) throw Error(str(flag, " is empty, expected at least one"));
  for (auto i = values.begin(); i != values.end(); ++i) {
    if (std::find(values.begin(), i, *i) != i)
      throw Error(str(flag, " holds ", *i, " twice, expected distinct ones"));
  }
}

}  // namespace

ScheduleSpec parse_schedule(const std::string& text) {
  std::vector<std::string> parts = split_text(text, ':');
  ScheduleSpec spec{.text = text, .name = parts.front()};
  std::set<std::string> keys;
  bool good = is_word(spec.name);
  for (size_t i = 1; good && i < parts.size(); ++i) {
    const size_t equals = parts[i].find('=');
    good = equals != std::string::npos && is_word(parts[i].substr(0, equals)) &&
           is_word(parts[i].substr(equals + 1));
    if (good && !keys.insert(parts[i].substr(0, equals)).second) {
      throw Error(str("--schedules: '", text, "' gives ", parts[i].substr(0, equals), " twice"));
    }
    spec.options.push_back(parts[i]);
  }
  if (!good) {
    throw Error(str("--schedules: '", text,
                    "' is no schedule, expected NAME or NAME:KEY=VALUE[:KEY=VALUE ...]"));
  }
  return spec;
}

std::string scaled_schedule(const std::string& text) {
  const ScheduleSpec spec = parse_schedule(text);
  const bool given =
      std::any_of(spec.options.begin(), spec.options.end(),
                  [](const std::string& option) { return option.rfind("as_epochs=", 0) == 0; });
  const bool decays = spec.name == "step" || spec.name == "exponential";
  return decays && !given ? text + ":as_epochs=50" : text;
}

Threshold parse_threshold(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string figure = equals == std::string::npos ? "accuracy" : text.substr(0, equals);
  if (figure != "accuracy" && figure != "loss") {
    throw Error(str("--threshold is '", text, "', expected accuracy=VALUE or loss=VALUE"));
  }
  const double value =
      parse_number("--threshold", equals == std::string::npos ? text : text.substr(equals + 1));
  if (!(value > 0) || (figure == "accuracy" && value > 1)) {
    throw Error(
        str("--threshold is '", text, "', expected an accuracy in (0, 1] or a loss above 0"));
  }
  return {.is_loss = figure == "loss", .value = value};
}

// Accuracies that a well-trained run of the model passes on the whole data set.
Threshold default_threshold(const std::string& model) {
  if (model == "mnist_cnn") return {.value = 0.98};
  if (model == "mnist_mlp") return {.value = 0.95};
  if (model == "imdb_bilstm") return {.value = 0.85};
  return {.value = 0.8};
}

std::string threshold_text(const Threshold& threshold) {
  return (threshold.is_loss ? "loss=" : "accuracy=") + number_text(threshold.value);
}

const ModelPlan& Plan::task(const std::string& model) const {
  const auto found = std::find_if(tasks.begin(), tasks.end(),
                                  [&](const ModelPlan& task) { return task.model == model; });
  if (found == tasks.end()) throw Error(str("plan: no task for the model ", model));
  return *found;
}

Plan make_plan(const std::vector<ModelPlan>& tasks, const std::vector<std::string>& schedules,
               const std::vector<double>& rates, int64_t seeds) {
  std::vector<std::string> models;
  models.reserve(tasks.size());
  for (const ModelPlan& task : tasks) models.push_back(task.model);
  require_distinct("--model", models);
  require_distinct("--schedules", schedules);
  require_distinct("--lrs", rates);
  for (const double rate : rates) {
    if (!(rate > 0) || !std::isfinite(rate))
      throw Error(str("--lrs: ", number_text(rate), ", expected positive numbers"));
  }
  if (seeds < 1 || seeds > 1000) throw Error(str("--seeds is ", seeds, ", expected 1 to 1000"));
  Plan plan{.tasks = tasks};
  for (const std::string& schedule : schedules) {
    if (parse_schedule(schedule).name != "adaptive") plan.baselines.push_back(schedule);
  }
  for (const ModelPlan& task : tasks) {
    for (int64_t seed = 1; seed <= seeds; ++seed) {
      for (const double rate : rates) {
        for (const std::string& schedule : schedules) {
          plan.cells.push_back({.model = task.model,
                                .schedule = schedule,
                                .learning_rate = rate,
                                .seed = static_cast<uint64_t>(seed)});
        }
      }
    }
  }
  return plan;
}

std::string cell_text(const Cell& cell) {
  return str(cell.model, ' ', cell.schedule, " lr ", number_text(cell.learning_rate), " seed ",
             cell.seed);
}

std::filesystem::path cell_folder(const Cell& cell) {
  std::string schedule = cell.schedule;
  std::replace(schedule.begin(), schedule.end(), ':', ',');
  return std::filesystem::path("runs") / cell.model / schedule /
         ("lr-" + number_text(cell.learning_rate)) / str("seed-", cell.seed);
}

std::vector<std::string> cell_arguments(const ModelPlan& task, const Cell& cell,
                                        const std::filesystem::path& folder, int threads) {
  std::vector<std::string> arguments = task.flags;
  const auto add = [&](const char* flag, const std::string& value) {
    arguments.insert(arguments.end(), {flag, value});
  };
  const ScheduleSpec spec = parse_schedule(cell.schedule);
  if (!task.data.empty()) add("--data", task.data);
  add("--epochs", std::to_string(task.epochs));
  add("--schedule", spec.name);
  for (const std::string& option : spec.options) add("--schedule-option", option);
  add("--lr", number_text(cell.learning_rate));
  add("--seed", std::to_string(cell.seed));
  add("--threads", std::to_string(threads));
  add("--out", folder.string());
  arguments.emplace_back("--json");
  return arguments;
}

}  // namespace flyball

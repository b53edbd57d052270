#include "schedulers/compare/plan_file.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/write_file.h"
#include "kernels/error.h"
#include "schedulers/compare/text.h"

namespace flyball {
namespace {

using Json = nlohmann::ordered_json;

void require_same(const std::string& model, const char* what, const std::string& earlier,
                  const std::string& now) {
  if (earlier == now) return;
  throw Error(str("--out holds runs of another configuration: ", model, " there has ", what, " '",
                  earlier, "', here '", now, "'; choose another folder"));
}

}  // namespace

Plan read_plan(const std::filesystem::path& file) {
  try {
    std::ifstream in(file);
    if (!in) throw Error("cannot open");
    const Json json = Json::parse(in);
    Plan plan{.baselines = json.at("baselines").get<std::vector<std::string>>()};
    for (const Json& task : json.at("tasks")) {
      plan.tasks.push_back({.model = task.at("model"),
                            .data = task.at("data"),
                            .epochs = task.at("epochs"),
                            .flags = task.at("flags"),
                            .threshold = parse_threshold(task.at("threshold"))});
    }
    for (const Json& cell : json.at("cells")) {
      plan.cells.push_back({.model = cell.at("model"),
                            .schedule = cell.at("schedule"),
                            .learning_rate = cell.at("learning_rate"),
                            .seed = cell.at("seed")});
      plan.task(plan.cells.back().model);
    }
    return plan;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    throw Error(str(file.string(), ": ", text.substr(0, text.find('\n'))));
  }
}

void write_plan(const std::filesystem::path& file, const Plan& plan) {
  Json tasks = Json::array(), cells = Json::array();
  for (const ModelPlan& task : plan.tasks) {
    tasks.push_back({{"model", task.model},
                     {"data", task.data},
                     {"epochs", task.epochs},
                     {"flags", task.flags},
                     {"threshold", threshold_text(task.threshold)}});
  }
  for (const Cell& cell : plan.cells) {
    cells.push_back({{"model", cell.model},
                     {"schedule", cell.schedule},
                     {"learning_rate", cell.learning_rate},
                     {"seed", cell.seed}});
  }
  const Json json{{"tasks", tasks}, {"baselines", plan.baselines}, {"cells", cells}};
  write_whole_file(file, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Plan merge_plans(const Plan& earlier, const Plan& plan) {
  Plan merged = earlier;
  for (const ModelPlan& task : plan.tasks) {
    const auto found =
        std::find_if(merged.tasks.begin(), merged.tasks.end(),
                     [&](const ModelPlan& other) { return other.model == task.model; });
    if (found == merged.tasks.end()) {
      merged.tasks.push_back(task);
      continue;
    }
    require_same(task.model, "--data", found->data, task.data);
    require_same(task.model, "--epochs", std::to_string(found->epochs),
                 std::to_string(task.epochs));
    require_same(task.model, "flags", join_texts(found->flags, " "), join_texts(task.flags, " "));
    found->threshold = task.threshold;
  }
  for (const Cell& cell : plan.cells) {
    if (std::find(merged.cells.begin(), merged.cells.end(), cell) == merged.cells.end())
      merged.cells.push_back(cell);
  }
  for (const std::string& baseline : plan.baselines) {
    if (std::find(merged.baselines.begin(), merged.baselines.end(), baseline) ==
        merged.baselines.end())
      merged.baselines.push_back(baseline);
  }
  return merged;
}

}  // namespace flyball

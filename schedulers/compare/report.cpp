#include "schedulers/compare/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "schedulers/compare/text.h"

namespace flyball {
namespace {

using Json = nlohmann::ordered_json;

// Five digits are more than a plot shows, and keep the page small.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  char text[32];
  std::snprintf(text, sizeof text, "%.5g", value);
  return std::strtod(text, nullptr);
}

// Mean, lowest and highest over the runs at each point; a point that no run has is null.
template <class Value>
Json band(const std::vector<const Row*>& rows, size_t points, Value value) {
  Json mean = Json::array(), low = Json::array(), high = Json::array();
  for (size_t i = 0; i < points; ++i) {
    std::vector<double> values;
    for (const Row* row : rows) {
      const double one = value(row->run, i);
      if (std::isfinite(one)) values.push_back(one);
    }
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    mean.push_back(rounded(mean_of(values)));
    low.push_back(values.empty() ? Json() : rounded(*least));
    high.push_back(values.empty() ? Json() : rounded(*most));
  }
  return {{"mean", mean}, {"low", low}, {"high", high}};
}

Json curve_of(const Group& group) {
  size_t points = kCurvePoints;
  for (const Row* row : group.rows) points = std::min(points, row->run.curve.size());
  Json epochs = Json::array();
  for (size_t i = 0; i < points; ++i)
    epochs.push_back(rounded(group.rows.front()->run.curve[i].epoch));
  const auto& rows = group.rows;
  return {{"epoch", epochs},
          {"loss", band(rows, points, [](const Run& run, size_t i) { return run.curve[i].loss; })},
          {"accuracy",
           band(rows, points, [](const Run& run, size_t i) { return run.curve[i].accuracy; })},
          {"rate", band(rows, points,
                        [](const Run& run, size_t i) { return run.curve[i].learning_rate; })}};
}

// At most kCurvePoints of the validations, the last one among them.
Json validations_of(const Group& group) {
  size_t count = group.rows.front()->run.validations.size();
  for (const Row* row : group.rows) count = std::min(count, row->run.validations.size());
  const size_t points = std::min<size_t>(count, kCurvePoints);
  const auto at = [&](const Run& run, size_t i) -> const ValidationPoint& {
    return run.validations[(i + 1) * count / points - 1];
  };
  Json epochs = Json::array();
  for (size_t i = 0; i < points; ++i)
    epochs.push_back(rounded(at(group.rows.front()->run, i).epoch));
  const auto& rows = group.rows;
  return {{"epoch", epochs},
          {"loss", band(rows, points, [&](const Run& run, size_t i) { return at(run, i).loss; })},
          {"accuracy",
           band(rows, points, [&](const Run& run, size_t i) { return at(run, i).accuracy; })}};
}

Json group_of(const Group& group) {
  Json metrics = Json::object();
  for (const MetricSummary& metric : summarize(group)) {
    metrics[metric.column->name] = {
        {"count", metric.count}, {"mean", rounded(metric.mean)}, {"sd", rounded(metric.sd)}};
  }
  return {{"model", group.model},        {"schedule", group.schedule},
          {"rate", group.learning_rate}, {"runs", group.rows.size()},
          {"curve", curve_of(group)},    {"validation", validations_of(group)},
          {"metrics", metrics}};
}

Json comparison_of(const Comparison& comparison) {
  Json metrics = Json::object();
  for (const PairedMetric& metric : comparison.metrics) {
    metrics[metric.column->name] = {{"count", metric.count},
                                    {"difference", rounded(metric.difference)},
                                    {"low", rounded(metric.interval.low)},
                                    {"high", rounded(metric.interval.high)},
                                    {"record", {metric.wins, metric.ties, metric.losses}}};
  }
  return {{"model", comparison.group->model},
          {"schedule", comparison.group->schedule},
          {"rate", comparison.group->learning_rate},
          {"baseline", comparison.baseline->schedule},
          {"baseline_rate", comparison.baseline->learning_rate},
          {"tuned", comparison.tuned},
          {"metrics", metrics}};
}

Json run_of(const Row& row) {
  Json run{{"model", row.run.cell.model},
           {"schedule", row.run.cell.schedule},
           {"rate", row.run.cell.learning_rate},
           {"seed", row.run.cell.seed}};
  for (const Column& column : columns()) run[column.name] = rounded(column.value(row));
  return run;
}

std::string data_text(const std::string& data) {
  if (data.empty()) return "the sample in the repository";
  std::filesystem::path path(data);
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

Json tasks_of(const ReportData& data) {
  Json tasks = Json::array();
  for (const ModelPlan& task : data.plan.tasks) {
    const auto row = std::find_if(data.rows.begin(), data.rows.end(), [&](const Row& candidate) {
      return candidate.run.cell.model == task.model;
    });
    const auto planned = std::count_if(data.plan.cells.begin(), data.plan.cells.end(),
                                       [&](const Cell& cell) { return cell.model == task.model; });
    tasks.push_back({{"model", task.model},
                     {"data", data_text(task.data)},
                     {"epochs", task.epochs},
                     {"flags", without_folders(join_texts(task.flags, " "))},
                     {"threshold", threshold_text(task.threshold)},
                     {"parameters", row == data.rows.end() ? 0 : row->run.parameters},
                     {"planned", planned}});
  }
  return tasks;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::localtime(&now));
  return text;
}

Json page_data(const ReportData& data) {
  Json groups = Json::array(), comparisons = Json::array(), runs = Json::array(),
       failures = Json::array();
  for (const Group& group : data.groups) groups.push_back(group_of(group));
  for (const Comparison& one : data.comparisons) comparisons.push_back(comparison_of(one));
  for (const Row& row : data.rows) runs.push_back(run_of(row));
  for (const Failure& failure : data.failures)
    failures.push_back(
        {{"run", cell_text(failure.cell)}, {"error", without_folders(failure.error)}});
  return {{"date", today()},
          {"machine",
           {{"processor", data.machine.processor},
            {"cores", data.machine.cores},
            {"system", data.machine.system},
            {"compiler", data.machine.compiler}}},
          {"jobs", data.jobs},
          {"threads", data.threads},
          {"baselines", data.plan.baselines},
          {"tasks", tasks_of(data)},
          {"groups", groups},
          {"comparisons", comparisons},
          {"runs", runs},
          {"failures", failures}};
}

}  // namespace

std::string script_safe(const std::string& json) {
  std::string text;
  for (const char c : json) text += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return text;
}

std::string without_folders(const std::string& text) {
  constexpr std::string_view kBefore = " '\"(=";
  constexpr const char* kAfter = " '\"):,";
  std::string kept;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts =
        text[i] == '/' && (i == 0 || kBefore.find(text[i - 1]) != std::string_view::npos);
    if (starts) i = text.rfind('/', text.find_first_of(kAfter, i));  // the path's last slash
    if (!starts) kept += text[i];
  }
  return kept;
}

std::string fill_place(const std::string& text, std::string_view name, std::string_view value) {
  const size_t place = text.find(name);
  if (place == std::string::npos || text.find(name, place + 1) != std::string::npos)
    throw Error(str("report: expected ", name, " once in the page"));
  return text.substr(0, place) + std::string(value) + text.substr(place + name.size());
}

std::string report_html(const ReportData& data) {
  const std::string json = page_data(data).dump(-1, ' ', false, Json::error_handler_t::replace);
  // Data last: it may hold anything, the names of places included.
  std::string page = fill_place(std::string(report_page()), "/*{style}*/", report_style());
  page = fill_place(page, "/*{library}*/", chart_library());
  page = fill_place(page, "/*{script}*/", report_script());
  return fill_place(page, "{data}", script_safe(json));
}

}  // namespace flyball

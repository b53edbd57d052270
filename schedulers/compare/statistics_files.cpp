#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "schedulers/compare/statistics.h"
#include "schedulers/compare/text.h"

namespace flyball {
namespace {

using Json = nlohmann::ordered_json;

std::string field(double value) {
  return value - value == 0 ? number_text(value) : "";  // not finite: no figure
}

}  // namespace

std::string statistics_json(const std::vector<Group>& groups,
                            const std::vector<Comparison>& comparisons) {
  Json group_list = Json::array(), comparison_list = Json::array();
  for (const Group& group : groups) {
    Json metrics = Json::object();
    for (const MetricSummary& metric : summarize(group)) {
      metrics[metric.column->name] = {
          {"count", metric.count}, {"mean", metric.mean}, {"sd", metric.sd}};
    }
    group_list.push_back({{"model", group.model},
                          {"schedule", group.schedule},
                          {"learning_rate", group.learning_rate},
                          {"runs", group.rows.size()},
                          {"metrics", metrics}});
  }
  for (const Comparison& comparison : comparisons) {
    Json metrics = Json::object();
    for (const PairedMetric& metric : comparison.metrics) {
      metrics[metric.column->name] = {
          {"count", metric.count},      {"difference", metric.difference},
          {"low", metric.interval.low}, {"high", metric.interval.high},
          {"wins", metric.wins},        {"ties", metric.ties},
          {"losses", metric.losses}};
    }
    comparison_list.push_back({{"model", comparison.group->model},
                               {"schedule", comparison.group->schedule},
                               {"learning_rate", comparison.group->learning_rate},
                               {"baseline", comparison.baseline->schedule},
                               {"baseline_learning_rate", comparison.baseline->learning_rate},
                               {"tuned", comparison.tuned},
                               {"metrics", metrics}});
  }
  return Json{{"groups", group_list}, {"comparisons", comparison_list}}.dump(1) + "\n";
}

std::string statistics_csv(const std::vector<Group>& groups,
                           const std::vector<Comparison>& comparisons) {
  std::string text =
      "model,schedule,learning_rate,baseline,baseline_learning_rate,metric,count,mean,sd,"
      "difference,low,high,wins,ties,losses\n";
  for (const Group& group : groups) {
    for (const MetricSummary& metric : summarize(group)) {
      text += str(csv_field(group.model), ',', csv_field(group.schedule), ',',
                  number_text(group.learning_rate), ",,,", metric.column->name, ',', metric.count,
                  ',', field(metric.mean), ',', field(metric.sd), ",,,,,,\n");
    }
  }
  for (const Comparison& comparison : comparisons) {
    const Group &group = *comparison.group, &baseline = *comparison.baseline;
    for (const PairedMetric& metric : comparison.metrics) {
      text += str(csv_field(group.model), ',', csv_field(group.schedule), ',',
                  number_text(group.learning_rate), ',', csv_field(baseline.schedule), ',',
                  number_text(baseline.learning_rate), ',', metric.column->name, ',', metric.count,
                  ",,,", field(metric.difference), ',', field(metric.interval.low), ',',
                  field(metric.interval.high), ',', metric.wins, ',', metric.ties, ',',
                  metric.losses, '\n');
    }
  }
  return text;
}

}  // namespace flyball

#include "schedulers/compare/terminal_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/error.h"
#include "schedulers/compare/text.h"

namespace flyball {
namespace {

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// mean ± sd of the named metric, times `scale`.
std::string spread(const std::vector<MetricSummary>& metrics, const std::string& name, double scale,
                   int digits) {
  for (const MetricSummary& metric : metrics) {
    if (name != metric.column->name) continue;
    std::string text = fixed(scale * metric.mean, digits);
    if (std::isfinite(metric.sd)) text += " ± " + fixed(scale * metric.sd, digits);
    return text;
  }
  return "-";
}

// The same, with the share of runs that got there where not all did.
std::string reached(const std::vector<MetricSummary>& metrics, const std::string& name, size_t runs,
                    int digits) {
  for (const MetricSummary& metric : metrics) {
    if (name != metric.column->name) continue;
    if (metric.count == 0) return "never";
    std::string text = fixed(metric.mean, digits);
    if (metric.count < static_cast<int64_t>(runs)) text += str(" (", metric.count, '/', runs, ')');
    return text;
  }
  return "-";
}

size_t width_of(const std::string& text) {  // characters of UTF-8
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

std::string format_table(const std::vector<std::vector<std::string>>& rows, size_t left) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width_of(row[i]), ' ');
      line += "  " + (i < left ? row[i] + padding : padding + row[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return text;
}

std::string results_table(const std::vector<Group>& groups, const Plan& plan) {
  std::string text;
  for (const ModelPlan& task : plan.tasks) {
    std::vector<std::vector<std::string>> rows{{"schedule", "lr", "runs", "validation %", "test %",
                                                "validation loss", "train loss", "steps to goal",
                                                "s to goal"}};
    for (const Group& group : groups) {
      if (group.model != task.model) continue;
      const std::vector<MetricSummary> metrics = summarize(group);
      rows.push_back(
          {group.schedule, number_text(group.learning_rate), std::to_string(group.rows.size()),
           spread(metrics, "validation_accuracy", 100, 2), spread(metrics, "test_accuracy", 100, 2),
           spread(metrics, "validation_loss", 1, 4), spread(metrics, "train_loss", 1, 4),
           reached(metrics, "steps_to_threshold", group.rows.size(), 0),
           reached(metrics, "seconds_to_threshold", group.rows.size(), 1)});
    }
    if (rows.size() == 1) continue;
    text += str('\n', task.model, ", ", task.epochs, task.epochs == 1 ? " epoch" : " epochs",
                ", goal: validation ", threshold_text(task.threshold), '\n', format_table(rows, 1));
  }
  return text;
}

std::string comparisons_table(const std::vector<Comparison>& comparisons,
                              const std::vector<std::string>& baselines) {
  const auto challenges = [&](const Comparison& comparison) {
    return std::find(baselines.begin(), baselines.end(), comparison.group->schedule) ==
           baselines.end();
  };
  const bool challenged = std::any_of(comparisons.begin(), comparisons.end(), challenges);
  std::vector<std::vector<std::string>> rows{
      {"validation accuracy of", "minus that of", "points", "95 % interval", "win/tie/loss"}};
  const auto name = [](const Group& group) {
    return str(group.model, ' ', group.schedule, " lr ", number_text(group.learning_rate));
  };
  for (const Comparison& comparison : comparisons) {
    if (challenged && !challenges(comparison)) continue;
    for (const PairedMetric& metric : comparison.metrics) {
      if (std::string("validation_accuracy") != metric.column->name) continue;
      const bool interval = std::isfinite(metric.interval.low);
      rows.push_back({name(*comparison.group),
                      str(comparison.baseline->schedule, " lr ",
                          number_text(comparison.baseline->learning_rate),
                          comparison.tuned ? " (its best)" : ""),
                      fixed(100 * metric.difference, 2),
                      interval ? str(fixed(100 * metric.interval.low, 2), " .. ",
                                     fixed(100 * metric.interval.high, 2))
                               : "-",
                      str(metric.wins, '/', metric.ties, '/', metric.losses)});
    }
  }
  return rows.size() == 1 ? "" : '\n' + format_table(rows, 2);
}

}  // namespace flyball

#include "schedulers/compare/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace flyball {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// SplitMix64 (Steele, Lea & Flood 2014): the standard library's distributions differ between
// implementations.
class Draws {
 public:
  size_t below(size_t n) {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return static_cast<size_t>((z >> 32) * n >> 32);  // n is far below 2^32
  }

 private:
  uint64_t state_ = 0;
};

double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

PairedMetric compare_metric(const Group& group, const Group& baseline, const Column& column) {
  PairedMetric paired{.column = &column};
  std::vector<double> differences;
  for (const Row* row : group.rows) {
    for (const Row* other : baseline.rows) {
      if (row->run.cell.seed != other->run.cell.seed) continue;
      const double mine = column.value(*row), theirs = column.value(*other);
      if (std::isfinite(mine) && std::isfinite(theirs)) differences.push_back(mine - theirs);
      const double gain = column.better == Column::Better::higher ? mine - theirs : theirs - mine;
      if (std::isfinite(mine) != std::isfinite(theirs)) {
        ++(std::isfinite(mine) ? paired.wins : paired.losses);
      } else if (std::isfinite(mine) && gain != 0) {
        ++(gain > 0 ? paired.wins : paired.losses);
      } else {
        ++paired.ties;
      }
    }
  }
  paired.count = static_cast<int64_t>(differences.size());
  paired.difference = mean_of(differences);
  paired.interval = bootstrap_interval(differences);
  return paired;
}

Comparison compare(const Group& group, const Group& baseline, bool tuned) {
  Comparison comparison{.group = &group, .baseline = &baseline, .tuned = tuned};
  for (const Column& column : columns()) {
    if (column.better == Column::Better::neither) continue;
    comparison.metrics.push_back(compare_metric(group, baseline, column));
  }
  return comparison;
}

double best_validation_accuracy(const Group& group) {
  std::vector<double> values;
  for (const Row* row : group.rows) values.push_back(row->run.best_validation_accuracy);
  const double mean = mean_of(values);
  return std::isfinite(mean) ? mean : -1;
}

}  // namespace

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? kNan : sum / static_cast<double>(values.size());
}

double standard_deviation(const std::vector<double>& values) {
  if (values.size() < 2) return kNan;
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

Interval bootstrap_interval(const std::vector<double>& values) {
  constexpr size_t kSamples = 10000;
  if (values.size() < 2) return {.low = kNan, .high = kNan};
  Draws draws;
  std::vector<double> means(kSamples);
  for (double& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[draws.below(values.size())];
    mean = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  return {.low = quantile(means, 0.025), .high = quantile(means, 0.975)};
}

std::vector<Group> group_rows(const std::vector<Row>& rows) {
  std::vector<Group> groups;
  for (const Row& row : rows) {
    const Cell& cell = row.run.cell;
    auto found = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
      return group.model == cell.model && group.schedule == cell.schedule &&
             group.learning_rate == cell.learning_rate;
    });
    if (found == groups.end()) {
      groups.push_back({.model = cell.model,
                        .schedule = cell.schedule,
                        .learning_rate = cell.learning_rate,
                        .rows = {}});
      found = groups.end() - 1;
    }
    found->rows.push_back(&row);
  }
  return groups;
}

std::vector<MetricSummary> summarize(const Group& group) {
  std::vector<MetricSummary> summaries;
  for (const Column& column : columns()) {
    std::vector<double> values;
    for (const Row* row : group.rows) {
      const double value = column.value(*row);
      if (std::isfinite(value)) values.push_back(value);
    }
    summaries.push_back({.column = &column,
                         .count = static_cast<int64_t>(values.size()),
                         .mean = mean_of(values),
                         .sd = standard_deviation(values)});
  }
  return summaries;
}

std::vector<Comparison> compare_groups(const std::vector<Group>& groups,
                                       const std::vector<std::string>& baselines) {
  std::vector<Comparison> comparisons;
  for (const Group& group : groups) {
    for (const std::string& baseline : baselines) {
      if (baseline == group.schedule) continue;
      const Group* same_rate = nullptr;
      const Group* best = nullptr;
      for (const Group& other : groups) {
        if (other.model != group.model || other.schedule != baseline) continue;
        if (other.learning_rate == group.learning_rate) same_rate = &other;
        if (best == nullptr || best_validation_accuracy(other) > best_validation_accuracy(*best))
          best = &other;
      }
      if (same_rate != nullptr) comparisons.push_back(compare(group, *same_rate, false));
      if (best != nullptr && best != same_rate) comparisons.push_back(compare(group, *best, true));
    }
  }
  return comparisons;
}

}  // namespace flyball

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schedulers/compare/results.h"

namespace flyball {

double mean_of(const std::vector<double>& values);  // NaN of none
// sqrt(sum (x - mean)^2 / (n - 1)); NaN of fewer than two.
double standard_deviation(const std::vector<double>& values);

struct Interval {
  double low = 0, high = 0;
};

// 95 % percentile bootstrap interval of the mean (Efron & Tibshirani 1993, chapter 13): 10,000
// samples of n values drawn with replacement, the 2.5 % and 97.5 % quantiles of their means, with
// linear interpolation between order statistics. The draws are the same in every call. NaN of fewer
// than two values.
Interval bootstrap_interval(const std::vector<double>& values);

// Runs of one model, schedule and initial rate, one a seed.
struct Group {
  std::string model, schedule;
  double learning_rate = 0;
  std::vector<const Row*> rows;
};
std::vector<Group> group_rows(const std::vector<Row>& rows);  // in the order of first appearance

struct MetricSummary {
  const Column* column = nullptr;
  int64_t count = 0;  // runs that have the figure
  double mean = 0, sd = 0;
};
std::vector<MetricSummary> summarize(const Group& group);

// A metric of two groups over their common seeds: difference = group - baseline. A run that has the
// figure wins against one that has not (it never converged); the difference is of seeds where both
// have it.
struct PairedMetric {
  const Column* column = nullptr;
  int64_t count = 0;  // seeds where both have the figure
  double difference = 0;
  Interval interval{};
  int64_t wins = 0, ties = 0, losses = 0;
};
struct Comparison {
  const Group* group = nullptr;
  const Group* baseline = nullptr;
  bool tuned = false;  // the baseline is at its own best rate, not at the group's
  std::vector<PairedMetric> metrics{};
};

// Each group against each baseline of its model at the same initial rate, and, where a baseline has
// several rates, at the one with the best mean of best_validation_accuracy.
std::vector<Comparison> compare_groups(const std::vector<Group>& groups,
                                       const std::vector<std::string>& baselines);

std::string statistics_json(const std::vector<Group>& groups,
                            const std::vector<Comparison>& comparisons);
std::string statistics_csv(const std::vector<Group>& groups,
                           const std::vector<Comparison>& comparisons);

}  // namespace flyball

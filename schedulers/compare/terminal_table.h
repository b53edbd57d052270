#pragma once

#include <string>
#include <vector>

#include "schedulers/compare/statistics.h"

namespace flyball {

// Columns as wide as their longest cell; the first `left` ones aligned left, the others right.
// `rows[0]` is the head.
std::string format_table(const std::vector<std::vector<std::string>>& rows, size_t left);

// A table a model: a line a schedule and initial rate, means and standard deviations over seeds.
std::string results_table(const std::vector<Group>& groups, const Plan& plan);

// The validation accuracy of each group against each baseline, with intervals. Baselines among
// themselves are left out where there is anything else.
std::string comparisons_table(const std::vector<Comparison>& comparisons,
                              const std::vector<std::string>& baselines);

}  // namespace flyball

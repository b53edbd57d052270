#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "schedulers/compare/runner.h"

namespace flyball {

// Seconds of one run of each model, measured: the first run of the plan is begun in `scratch` and
// left after its second look at the step log, or at its end; the seconds of training between two
// looks, or up to the first, give those of the whole. Validations and tests are not in it.
std::map<std::string, double> measure_seconds(const Plan& plan, const RunnerOptions& options,
                                              const std::filesystem::path& scratch);

// The cells that are left, one after the other on each of the jobs.
double estimate_seconds(const std::vector<Cell>& cells,
                        const std::map<std::string, double>& seconds, int jobs);

}  // namespace flyball

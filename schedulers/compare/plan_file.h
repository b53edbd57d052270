#pragma once

#include <filesystem>

#include "schedulers/compare/plan.h"

namespace flyball {

// plan.json of a results folder: what its runs have in common and every cell that was asked for.
Plan read_plan(const std::filesystem::path& file);  // throws Error, naming what is wrong
void write_plan(const std::filesystem::path& file, const Plan& plan);

// An earlier plan with the cells, models and baselines of a new one added. Throws Error, saying the
// difference, where a model's runs would not be comparable: other data, epochs or flags. Thresholds
// are only read afterwards: the new ones hold.
Plan merge_plans(const Plan& earlier, const Plan& plan);

}  // namespace flyball

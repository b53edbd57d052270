#pragma once

#include <string>
#include <vector>

#include "schedulers/rules/rule.h"

namespace flyball {

// The learning-rate rules by the names that --schedule takes.
std::vector<std::string> schedule_names();

// The rule called `name`, starting from `rate`; throws Error, listing the names, when there is
// none, or when the rate is not a positive number.
Rule make_rule(const std::string& name, double rate);

}  // namespace flyball

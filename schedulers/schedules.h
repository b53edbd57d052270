#pragma once

#include <map>
#include <string>
#include <vector>

#include "schedulers/rules/rule.h"

namespace flyball {

using ScheduleOptions = std::map<std::string, std::string>;  // key, value

// The learning-rate rules by the names that --schedule takes.
std::vector<std::string> schedule_names();

// Every rule with its options, their defaults and ranges: one line each.
std::string schedule_help();

// "key=value" texts as options; throws Error on one without a key or '=', or where a key comes
// twice.
ScheduleOptions parse_schedule_options(const std::vector<std::string>& texts);

// The rule called `name`, starting from `rate` (one-cycle: with `rate` as its highest). Throws
// Error on an unknown name or option key, listing the valid ones, on a value out of its range, on
// options that contradict each other, and where the rate is not a positive number.
Rule make_rule(const std::string& name, double rate, const ScheduleOptions& options = {});

}  // namespace flyball

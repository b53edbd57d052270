#pragma once

#include <filesystem>
#include <string>

#include "schedulers/compare/plan.h"
#include "schedulers/compare/runner.h"

namespace flyball {

struct CompareOptions {
  Plan plan;
  RunnerOptions runner;
  bool estimate = false;       // measure and print the duration before the runs
  bool estimate_only = false;  // and stop there
};

// Reads the command line; what stands after "--" goes to the model binaries, which are in
// `binaries`. Prints the help and exits for --help; throws Error on anything wrong.
CompareOptions parse_compare_options(int argc, const char* const* argv,
                                     const std::filesystem::path& binaries);

}  // namespace flyball

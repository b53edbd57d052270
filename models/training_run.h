#pragma once

#include "models/task.h"

namespace flyball {

// The main function of a model binary: parses flags, trains (or scores), writes the run folder,
// prints the summary. Returns the exit code: 0; 2 after one line on standard error for bad input; 1
// for anything unforeseen.
int run_program(Task& task, int argc, char** argv);

}  // namespace flyball

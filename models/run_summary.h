#pragma once

#include "models/recorder.h"
#include "models/run_config.h"
#include "models/training_setup.h"

namespace flyball {

// What a finished run came to.
struct RunSummary {
  const RunOptions& options;
  TrainingSetup& setup;
  const Recorder& recorder;
  const RunFolder& folder;
  Evaluation test;
};

Json summary_json(const RunSummary& summary);  // summary.json
void print_summary(const RunSummary& summary);

}  // namespace flyball

#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "schedulers/compare/run_reader.h"

namespace flyball {

// A run that did not end well: the line that it left on standard error.
struct Failure {
  Cell cell;
  std::string error;
};

// Where a run first reached a target: steps and seconds of training. NaN: never.
struct Reached {
  double steps = 0, seconds = 0;
};
Reached reach_threshold(const Run& run, const Threshold& threshold);  // at a validation
Reached reach_loss(const Run& run, double loss);  // the trailing mean of the training loss

// A run's figures and where it converged.
struct Row {
  Run run;
  Threshold threshold;
  Reached at_threshold, at_baseline_loss;
  double baseline_loss = 0;  // NaN: the model has no baseline at this rate
};

// A column of results and statistics that holds numbers. Not finite: there is no figure.
struct Column {
  const char* name;
  enum class Better { neither, higher, lower } better;
  double (*value)(const Row& row);
};
const std::vector<Column>& columns();

// Rows in the order of the runs. The best baseline's final loss is the lowest mean over its seeds
// of the training loss of the last epoch, among the baselines of the same model and initial rate.
std::vector<Row> make_rows(const std::vector<Run>& runs, const Plan& plan);

// results.csv and results.jsonl: a line a run, the failed ones at the end.
std::string results_csv(const std::vector<Row>& rows, const std::vector<Failure>& failures);
std::string results_jsonl(const std::vector<Row>& rows, const std::vector<Failure>& failures);

}  // namespace flyball

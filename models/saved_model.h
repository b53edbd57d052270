#pragma once

#include "models/task.h"

namespace flyball {

// A trained model, ready to be used: what a run folder holds.
struct SavedModel {
  RunOptions options;  // of the run
  std::unique_ptr<Task> task;
  Model model;
};

// checkpoint: a run folder (its final weights), or weights inside one. Throws Error naming the file
// that is missing or damaged.
SavedModel open_model(const std::filesystem::path& checkpoint, const Stream& stream);

// An evaluation and its confusion matrix: how many samples of a class (row) got which answer
// (column).
struct Score {
  Evaluation evaluation;
  std::vector<std::vector<int64_t>> confusion;
};
Score score(const Stream& stream, const SavedModel& saved, DataLoader& loader,
            const std::string& split, Precision precision);

// Reports an error as programs do: one line on standard error. Returns the exit code of `body`; 2
// for an Error, which bad input causes; 1 for anything unforeseen.
int run_main(const std::string& program, const std::function<int()>& body);

}  // namespace flyball

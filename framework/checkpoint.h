#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "framework/learning_rate.h"
#include "framework/module.h"
#include "framework/optimizer.h"

namespace flyball {

// What a training step reads and changes. The batches and the random numbers of a step follow from
// seed and step alone, so that this and the step are all that a run is.
struct TrainingState {
  Module& module;
  Optimizer& optimizer;
  LearningRate& rate;
};

using Metadata = std::map<std::string, std::string>;

// One safetensors file: the module's tensors under their names (load_model reads them there, too);
// the optimizer's as "state.optimizer.NAME"; the learning rate's state and signals as bytes,
// "state.rate" and "state.signals". Its metadata holds the caller's, and a checksum of it all.
// The file is whole on the disk when the call returns. Throws Error; `path` is then as it was.
void save_checkpoint(const std::filesystem::path& path, const TrainingState& state,
                     const Metadata& metadata, const Stream& stream);

// Verifies the whole file before it changes anything, and returns the caller's metadata. Throws
// Error naming the file: damaged, of another model, optimizer or schedule, or of another version.
Metadata load_checkpoint(const std::filesystem::path& path, const TrainingState& state,
                         const Stream& stream);

}  // namespace flyball

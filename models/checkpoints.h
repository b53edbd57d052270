#pragma once

#include <filesystem>

#include "framework/checkpoint.h"

namespace flyball {

// The checkpoints of a run, checkpoints/step-N.safetensors in its folder.
class Checkpoints {
 public:
  // keep: how many of the newest stay; 0: all.
  Checkpoints(const std::filesystem::path& run, int64_t keep)
      : folder_(run / "checkpoints"), keep_(keep) {}

  // Throws Error; then the older ones are as they were.
  void save(int64_t step, const TrainingState& state, const Stream& stream) const;

  // Brings back the newest that is whole and returns its step. A damaged one is left out, with a
  // line on standard error. Throws Error where none is left.
  int64_t load_newest(const TrainingState& state, const Stream& stream) const;

  void remove_all() const;

 private:
  std::vector<int64_t> steps() const;  // ascending
  std::filesystem::path file_of(int64_t step) const;

  std::filesystem::path folder_;
  int64_t keep_;
};

}  // namespace flyball

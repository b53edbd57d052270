#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flyball {

// A set of labelled token sequences in host memory.
struct TextData {
  std::string name;  // "imdb train", used in messages
  int64_t classes = 2;
  int64_t vocabulary = 0;        // token ids are in [0, vocabulary); 0 is padding
  std::vector<int32_t> tokens;   // sequence after sequence
  std::vector<int64_t> offsets;  // sequence i is tokens [offsets[i], offsets[i + 1])
  std::vector<int32_t> labels;   // each in [0, classes)

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t length(int64_t i) const {
    return offsets[static_cast<size_t>(i) + 1] - offsets[static_cast<size_t>(i)];
  }
};

}  // namespace flyball

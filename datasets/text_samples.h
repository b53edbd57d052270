#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flyball {

// Labelled texts as a loader read them.
struct TextSamples {
  std::string name;  // "imdb train", used in messages
  int64_t classes = 2;
  std::vector<std::string> texts = {};  // bytes as they lie in the files
  std::vector<int32_t> labels = {};     // one a text, each in [0, classes)
};

}  // namespace flyball

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/text_samples.h"

namespace flyball {

// Labelled texts as tokens, and the dictionary of all tokens that occur in them.
struct TokenizedText {
  std::string name;
  int64_t classes = 2;
  // Most frequent first, equally frequent ones by their bytes.
  std::vector<std::string> dictionary = {};
  std::vector<int64_t> counts = {};   // of the dictionary's tokens
  std::vector<int32_t> tokens = {};   // places in the dictionary, text after text
  std::vector<int64_t> offsets = {};  // text i is tokens [offsets[i], offsets[i + 1])
  std::vector<int32_t> labels = {};

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

// Runs tokenize() on every text, on as many threads as kernels use; the result does not depend on
// their number. Throws Error where the texts hold 2^31 different tokens or more.
TokenizedText tokenize(const TextSamples& samples);

}  // namespace flyball

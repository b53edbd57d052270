#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flyball {

// A set of labelled images in host memory, as a loader read it.
struct ImageData {
  std::string name;  // "mnist train", used in messages
  int64_t count = 0, h = 0, w = 0, c = 0;
  int64_t classes = 0;
  std::vector<uint8_t> pixels;  // [count, h, w, c]
  std::vector<int32_t> labels;  // [count], each in [0, classes)
  std::vector<float> mean,
      deviation;  // [c], in units of 0..1; pixels become (pixel / 255 - mean) / deviation
};

}  // namespace flyball

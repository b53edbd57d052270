#pragma once

#include <vector>

#include "framework/dataset.h"
#include "tests/testing.h"

namespace flyball::testing {

inline std::vector<float> gather_one(const Dataset& dataset, int64_t index, uint32_t epoch,
                                     const Augmentation& augmentation, int32_t* label,
                                     uint64_t seed = 3) {
  std::vector<float> x(static_cast<size_t>(dataset.sample_shape().count()));
  dataset.gather(stream(), &index, 1, augmentation, seed, &epoch, x.data(), label);
  return x;
}

}  // namespace flyball::testing

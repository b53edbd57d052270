#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

namespace flyball {

inline constexpr uint32_t kAugmentStream = 0x80000000U;  // above the layers that drop out

// Gathers a batch from a resident set of u8 images, changes each at random, and normalises:
//   y[i, row, column, channel] = (bilinear(images[indices[i]], row', column', channel) / 255 -
//   mean) / deviation
// flip_probability: chance of a horizontal mirror. rotation_degrees: the mirrored image is then
// turned about its centre by an angle uniform in [-rotation_degrees, rotation_degrees]:
//   row'    = (h - 1) / 2 + cos * (row - (h - 1) / 2) - sin * (column - (w - 1) / 2)
//   column' = (w - 1) / 2 + sin * (row - (h - 1) / 2) + cos * (column - (w - 1) / 2), of the
//   mirrored image;
// pixels from outside are 0 before normalisation. With both 0 it is an exact gather.
// All random numbers come from Philox at (indices[i], *epoch, kAugmentStream) under the seed, so a
// sample's change does not depend on its place in a batch: it is mirrored where uniform_float(word
// 0) < flip_probability, and angle = (2 * uniform_float(word 1) - 1) * rotation_degrees. images:
// [count, h, w, c] u8; labels: [count]; y: [n, h, w, c] f32; y_labels: [n]. mean, deviation: [c],
// in 0..1 units.
struct Augment {
  const uint8_t* images = nullptr;
  const int32_t* labels = nullptr;
  const int64_t* indices = nullptr;
  float* y = nullptr;
  int32_t* y_labels = nullptr;
  int64_t n = 0, h = 0, w = 0, c = 0;
  const float* mean = nullptr;
  const float* deviation = nullptr;
  double flip_probability = 0;
  double rotation_degrees = 0;
  uint64_t seed = 0;
  const uint32_t* epoch = nullptr;
};

namespace cpu {
void augment(const Augment&);
}

namespace cuda {
void augment(const Augment&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"
#include "schedulers/rules/host_device.h"

namespace flyball {

// A random word as an offset in -padding .. padding.
FLYBALL_HOST_DEVICE inline int64_t crop_offset(uint32_t word, int64_t padding) {
  const auto places = static_cast<uint64_t>(2 * padding + 1);
  return static_cast<int64_t>((word * places) >> 32) - padding;
}

inline constexpr uint32_t kAugmentStream = 0x80000000U;  // above the layers that drop out

// Gathers a batch from a resident set of u8 images, changes each at random, and normalises:
//   y[i, row, column, channel] = (bilinear(images[indices[i]], row', column', channel) / 255 -
//   mean) / deviation
// flip_probability: chance of a horizontal mirror. rotation_degrees: the mirrored image is then
// turned about its centre by an angle uniform in [-rotation_degrees, rotation_degrees]:
//   row'    = (h - 1) / 2 + cos * (row - (h - 1) / 2) - sin * (column - (w - 1) / 2)
//   column' = (w - 1) / 2 + sin * (row - (h - 1) / 2) + cos * (column - (w - 1) / 2), of the
//   mirrored image;
// pixels from outside are 0 before normalisation. crop_padding: of the result with so many rows and
// columns of such pixels on each side, a random part of the image's size is taken:
//   y[i, row, column] is the turned image's pixel (row + down, column + right), with down and right
//   uniform in -crop_padding .. crop_padding.
// With all three 0 it is an exact gather.
// All random numbers come from Philox at (indices[i], *epoch, kAugmentStream) under the seed, so a
// sample's change does not depend on its place in a batch: it is mirrored where uniform_float(word
// 0) < flip_probability, angle = (2 * uniform_float(word 1) - 1) * rotation_degrees, and down and
// right are crop_offset() of words 2 and 3. images: [count, h, w, c] u8; labels: [count]; y: [n, h,
// w, c] f32; y_labels: [n]. mean, deviation: [c], in 0..1 units.
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
  int64_t crop_padding = 0;
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

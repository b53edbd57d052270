#include "kernels/augment.h"

#include <cmath>
#include <limits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vectors.cuh"
#include "kernels/philox.h"

namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;

// How the sample is changed: a part of the mirrored image, turned.
struct Change {
  bool mirror;
  float sine, cosine;
  int down, right;
};

__device__ Change change_of(const Augment& a, int64_t index) {
  const PhiloxWords words =
      philox_at(static_cast<uint64_t>(index), *a.epoch, kAugmentStream, a.seed);
  Change change = {static_cast<double>(uniform_float(words.word[0])) < a.flip_probability, 0, 1,
                   static_cast<int>(crop_offset(words.word[2], a.crop_padding)),
                   static_cast<int>(crop_offset(words.word[3], a.crop_padding))};
  if (a.rotation_degrees != 0) {
    const double degrees =
        (2 * static_cast<double>(uniform_float(words.word[1])) - 1) * a.rotation_degrees;
    double sine, cosine;
    sincospi(degrees / 180, &sine, &cosine);
    change.sine = static_cast<float>(sine);
    change.cosine = static_cast<float>(cosine);
  }
  return change;
}

// Pixel (row, column) of the mirrored image; 0 outside.
struct Image {
  const uint8_t* pixels;
  int h, w, c;
  bool mirror;

  __device__ float at(int row, int column, int channel) const {
    if (row < 0 || row >= h || column < 0 || column >= w) return 0;
    const int from = mirror ? w - 1 - column : column;
    return static_cast<float>(pixels[(row * w + from) * c + channel]);
  }
};

// The turned image at (row, column), from the four pixels around where it was.
__device__ float turned(const Image& image, const Change& change, int row, int column,
                        int channel) {
  const float center_row = 0.5F * static_cast<float>(image.h - 1);
  const float center_column = 0.5F * static_cast<float>(image.w - 1);
  const float down_from = static_cast<float>(row) - center_row;
  const float right_from = static_cast<float>(column) - center_column;
  const float r = center_row + (change.cosine * down_from - change.sine * right_from);
  const float s = center_column + (change.sine * down_from + change.cosine * right_from);
  const float top = floorf(r), left = floorf(s);
  const float down = r - top, right = s - left;
  const int i = static_cast<int>(top), j = static_cast<int>(left);
  const float upper_left = image.at(i, j, channel), lower_left = image.at(i + 1, j, channel);
  const float upper = upper_left + right * (image.at(i, j + 1, channel) - upper_left);
  const float lower = lower_left + right * (image.at(i + 1, j + 1, channel) - lower_left);
  return upper + down * (lower - upper);
}

// A block for each image; a thread takes four neighbouring elements at a time. center and scale:
// 255 mean and 1 / (255 deviation) of each channel, the factors that the CPU uses.
// registers: <= 56
__global__ void __launch_bounds__(kThreads) augment_kernel(Augment a) {
  extern __shared__ float center[];
  __shared__ Change change;
  float* scale = center + a.c;
  const int64_t index = a.indices[blockIdx.x];
  if (threadIdx.x == 0) {
    change = change_of(a, index);
    a.y_labels[blockIdx.x] = a.labels[index];
  }
  for (int64_t i = threadIdx.x; i < a.c; i += kThreads) {
    center[i] = 255 * a.mean[i];
    scale[i] = static_cast<float>(1 / (255 * static_cast<double>(a.deviation[i])));
  }
  __syncthreads();  // the change is drawn, and the factors are there
  const int64_t elements = a.h * a.w * a.c;
  const Image image = {a.images + index * elements, static_cast<int>(a.h), static_cast<int>(a.w),
                       static_cast<int>(a.c), change.mirror};
  float* y = a.y + blockIdx.x * elements;
  const bool aligned = are_aligned(y);
  const bool turns = a.rotation_degrees != 0;
  for (int64_t at = 4 * threadIdx.x; at < elements; at += 4 * kThreads) {
    const Slot slot = slot_at(at, elements, aligned);
    const int pixel = static_cast<int>(at) / image.c;
    int channel = static_cast<int>(at) % image.c;
    int row = pixel / image.w + change.down, column = pixel % image.w + change.right;
    const int end = image.w + change.right;
    Four<float> four;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j >= slot.count) continue;
      const float value =
          turns ? turned(image, change, row, column, channel) : image.at(row, column, channel);
      four.at[j] = (value - center[channel]) * scale[channel];
      channel += 1;
      if (channel < image.c) continue;
      channel = 0;
      column += 1;
      if (column < end) continue;
      column = change.right;
      row += 1;
    }
    store(y, slot, four);
  }
}

}  // namespace

void augment(const Augment& a, cudaStream_t stream) {
  if (a.n == 0) return;
  if (a.h * a.w * a.c > std::numeric_limits<int>::max() - 4 * kThreads) {
    throw Error(str("augment: an image has ", a.h * a.w * a.c, " elements, expected below 2^31"));
  }
  launch(augment_kernel, "augment",
         {.grid = static_cast<unsigned>(a.n),
          .block = kThreads,
          .shared_bytes = 2 * a.c * static_cast<int64_t>(sizeof(float))},
         stream, a);
}

}  // namespace flyball::cuda

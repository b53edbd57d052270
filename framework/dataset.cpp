#include "framework/dataset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/random_streams.h"
#include "framework/run.h"
#include "kernels/augment.h"
#include "kernels/permutation.h"

namespace flyball {

ImageDataset::ImageDataset(ImageData data) : data_(std::move(data)) {
  const int64_t pixels = data_.count * data_.h * data_.w * data_.c;
  if (static_cast<int64_t>(data_.pixels.size()) != pixels ||
      static_cast<int64_t>(data_.labels.size()) != data_.count) {
    throw Error(str(data_.name, ": ", data_.pixels.size(), " pixel bytes and ", data_.labels.size(),
                    " labels, expected ", pixels, " and ", data_.count));
  }
}

void ImageDataset::gather(const Stream& stream, const int64_t* indices, int64_t n,
                          const Augmentation& augmentation, uint64_t seed, uint32_t epoch, float* x,
                          int32_t* labels) const {
  run<cpu::augment, cuda::augment>(stream,
                                   Augment{.images = data_.pixels.data(),
                                           .labels = data_.labels.data(),
                                           .indices = indices,
                                           .y = x,
                                           .y_labels = labels,
                                           .n = n,
                                           .h = data_.h,
                                           .w = data_.w,
                                           .c = data_.c,
                                           .mean = data_.mean.data(),
                                           .deviation = data_.deviation.data(),
                                           .flip_probability = augmentation.flip_probability,
                                           .rotation_degrees = augmentation.rotation_degrees,
                                           .seed = seed,
                                           .epoch = epoch});
}

Split split_by_seed(int64_t size, double validation_fraction, uint64_t seed, int64_t limit_training,
                    int64_t limit_validation) {
  if (!(validation_fraction >= 0 && validation_fraction < 1)) {
    throw Error(
        str("split: validation fraction is ", validation_fraction, ", expected 0 <= value < 1"));
  }
  const auto held_out =
      static_cast<int64_t>(std::llround(validation_fraction * static_cast<double>(size)));
  Split split;
  for (int64_t i = 0; i < size; ++i) {
    const int64_t sample = permuted(i, size, seed, 0, random_streams::kSplit);
    (i < held_out ? split.validation : split.training).push_back(sample);
  }
  const auto limit = [](std::vector<int64_t>& indices, int64_t count) {
    if (count > 0 && count < static_cast<int64_t>(indices.size()))
      indices.resize(static_cast<size_t>(count));
  };
  limit(split.training, limit_training);
  limit(split.validation, limit_validation);
  return split;
}

std::vector<int64_t> first_indices(int64_t size, int64_t limit) {
  std::vector<int64_t> indices(static_cast<size_t>(limit > 0 ? std::min(limit, size) : size));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

}  // namespace flyball

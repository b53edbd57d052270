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

namespace {

// The augment kernel's images, in one device's memory.
struct Images {
  const uint8_t* pixels;
  const int32_t* labels;
  const float *mean, *deviation;
  int64_t h, w, c;
};

void gather_images(const Stream& stream, const Images& images, const int64_t* indices, int64_t n,
                   const Augmentation& augmentation, uint64_t seed, const uint32_t* epoch, float* x,
                   int32_t* labels) {
  run<cpu::augment, cuda::augment>(stream,
                                   Augment{.images = images.pixels,
                                           .labels = images.labels,
                                           .indices = indices,
                                           .y = x,
                                           .y_labels = labels,
                                           .n = n,
                                           .h = images.h,
                                           .w = images.w,
                                           .c = images.c,
                                           .mean = images.mean,
                                           .deviation = images.deviation,
                                           .flip_probability = augmentation.flip_probability,
                                           .rotation_degrees = augmentation.rotation_degrees,
                                           .crop_padding = augmentation.crop_padding,
                                           .seed = seed,
                                           .epoch = epoch});
}

template <class T>
Tensor bytes_on(const Stream& stream, const std::vector<T>& values) {
  Tensor bytes =
      Tensor::empty(stream, {static_cast<int64_t>(values.size() * sizeof(T))}, DType::u8);
  copy_to_device(stream, bytes.mutable_raw(), values.data(), bytes.bytes());
  return bytes;
}

template <class T>
const T* as(const Tensor& bytes) {
  return static_cast<const T*>(bytes.raw());
}

class ImagesOnDevice : public Dataset {
 public:
  ImagesOnDevice(const Stream& stream, const ImageData& data)
      : name_(data.name),
        count_(data.count),
        classes_(data.classes),
        sample_{data.h, data.w, data.c},
        pixels_(bytes_on(stream, data.pixels)),
        labels_(bytes_on(stream, data.labels)),
        mean_(bytes_on(stream, data.mean)),
        deviation_(bytes_on(stream, data.deviation)) {
    stream.synchronize();  // other streams may read it
  }

  const std::string& name() const override { return name_; }
  int64_t size() const override { return count_; }
  int64_t classes() const override { return classes_; }
  Shape sample_shape() const override { return sample_; }
  Device device() const { return pixels_.device(); }
  void record_use(const Stream& stream) const {
    for (const Tensor* tensor : {&pixels_, &labels_, &mean_, &deviation_}) {
      tensor->record_use(stream);
    }
  }
  void gather(const Stream& stream, const int64_t* indices, int64_t n,
              const Augmentation& augmentation, uint64_t seed, const uint32_t* epoch, float* x,
              int32_t* labels) const override {
    gather_images(stream,
                  {as<uint8_t>(pixels_), as<int32_t>(labels_), as<float>(mean_),
                   as<float>(deviation_), sample_[0], sample_[1], sample_[2]},
                  indices, n, augmentation, seed, epoch, x, labels);
  }

 private:
  std::string name_;
  int64_t count_, classes_;
  Shape sample_;
  Tensor pixels_, labels_, mean_, deviation_;  // bytes
};

}  // namespace

void ImageDataset::gather(const Stream& stream, const int64_t* indices, int64_t n,
                          const Augmentation& augmentation, uint64_t seed, const uint32_t* epoch,
                          float* x, int32_t* labels) const {
  gather_images(stream,
                {data_.pixels.data(), data_.labels.data(), data_.mean.data(),
                 data_.deviation.data(), data_.h, data_.w, data_.c},
                indices, n, augmentation, seed, epoch, x, labels);
}

int64_t ImageDataset::device_bytes() const {
  return static_cast<int64_t>(data_.pixels.size() + data_.labels.size() * sizeof(int32_t));
}

std::shared_ptr<const Dataset> ImageDataset::on_device(const Stream& stream) const {
  const std::lock_guard lock(mutex_);
  auto copy = std::static_pointer_cast<const ImagesOnDevice>(device_copy_.lock());
  if (copy == nullptr || !(copy->device() == stream.device())) {
    copy = std::make_shared<const ImagesOnDevice>(stream, data_);
    device_copy_ = copy;
  }
  copy->record_use(stream);
  return copy;
}

std::shared_ptr<const Dataset> Dataset::on_device(const Stream& stream) const {
  throw Error(str(name(), ": cannot be kept in the memory of ", stream.device().str()));
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

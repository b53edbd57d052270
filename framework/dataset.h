#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "framework/image_data.h"
#include "framework/tensor.h"

namespace flyball {

// Random changes to training samples.
struct Augmentation {
  double flip_probability = 0;
  double rotation_degrees = 0;
  int64_t crop_padding = 0;  // zeros around the image, of which a part of its size is taken
};

// Labelled samples of one shape, read by position.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual const std::string& name() const = 0;
  virtual int64_t size() const = 0;
  virtual int64_t classes() const = 0;
  virtual Shape sample_shape() const = 0;
  // Writes samples indices[0 .. n) to x [n, sample_shape] f32 and labels [n]. The augmentation of a
  // sample depends on seed, *epoch and its index alone. All in memory of the stream's device, where
  // the samples have to be. Safe to call from several threads.
  virtual void gather(const Stream& stream, const int64_t* indices, int64_t n,
                      const Augmentation& augmentation, uint64_t seed, const uint32_t* epoch,
                      float* x, int32_t* labels) const = 0;

  // What the samples take in a device's memory; 0: they cannot be kept there.
  virtual int64_t device_bytes() const { return 0; }
  // The same samples on the stream's device. The host waits for the copy.
  virtual std::shared_ptr<const Dataset> on_device(const Stream& stream) const;
};

// A set of u8 images in memory; gather is the augment kernel.
class ImageDataset : public Dataset {
 public:
  explicit ImageDataset(ImageData data);
  const std::string& name() const override { return data_.name; }
  int64_t size() const override { return data_.count; }
  int64_t classes() const override { return data_.classes; }
  Shape sample_shape() const override { return {data_.h, data_.w, data_.c}; }
  void gather(const Stream& stream, const int64_t* indices, int64_t n,
              const Augmentation& augmentation, uint64_t seed, const uint32_t* epoch, float* x,
              int32_t* labels) const override;
  int64_t device_bytes() const override;
  // Loaders on one device share a copy.
  std::shared_ptr<const Dataset> on_device(const Stream& stream) const override;

 private:
  ImageData data_;
  mutable std::mutex mutex_;
  mutable std::weak_ptr<const Dataset> device_copy_;
};

struct Split {
  std::vector<int64_t> training, validation;
};

// Cuts 0 .. size-1 by seed: a random `validation_fraction` (rounded to whole samples) is held out,
// the rest is for training; then the first limit_training and limit_validation of each are kept (0:
// all). Each part is in random order.
Split split_by_seed(int64_t size, double validation_fraction, uint64_t seed,
                    int64_t limit_training = 0, int64_t limit_validation = 0);

// 0 .. size-1, or the first `limit` of them (0: all).
std::vector<int64_t> first_indices(int64_t size, int64_t limit = 0);

}  // namespace flyball

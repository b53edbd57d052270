#pragma once

#include <string>
#include <vector>

#include "framework/tensor.h"

namespace flyball {

struct Batch {
  Tensor x;             // images: [count, sample shape] f32; texts: [time, count] i32 token ids
  Tensor labels;        // [count] i32
  Tensor lengths = {};  // texts: [count] i32, in 1..time; images: undefined
  int64_t count = 0;
  int64_t epoch = 0;
  int64_t index = 0;  // within the epoch
};

struct BatchPosition {
  int64_t epoch = 0, index = 0;
};

// Which samples make up which batch: a new order every epoch, from (seed, epoch) alone. The last
// batch of an epoch may be smaller.
class BatchOrder {
 public:
  // indices: the chosen samples of a data set of `size`, named in messages.
  BatchOrder(std::vector<int64_t> indices, int64_t size, const std::string& name,
             int64_t batch_size, bool shuffle, uint64_t seed);

  int64_t samples() const { return static_cast<int64_t>(indices_.size()); }
  int64_t batch_size() const { return batch_size_; }
  int64_t largest_batch() const { return count(0); }
  int64_t batches_per_epoch() const;
  int64_t count(int64_t index) const;  // samples in a batch
  bool shuffle() const { return shuffle_; }
  uint64_t seed() const { return seed_; }
  const std::vector<int64_t>& indices() const { return indices_; }

  std::vector<int64_t> samples_of(const BatchPosition& position) const;
  BatchPosition after(const BatchPosition& position) const;
  void check(const BatchPosition& position) const;

 private:
  std::vector<int64_t> indices_;
  int64_t batch_size_;
  bool shuffle_;
  uint64_t seed_;
};

}  // namespace flyball

#pragma once

#include <vector>

#include "framework/bucket_order.h"
#include "framework/host_batches.h"

namespace flyball {

// Batches of token sequences: x [time, count], padded with 0, labels and lengths [count]. A slot's
// label memory holds the labels of a batch, then its lengths.
class TextBatches : public BatchMaker {
 public:
  TextBatches(const TextData& data, const BucketOrder& order) : data_(data), order_(order) {}
  BatchMemory memory(const Allocate& allocate) const override;
  Batch view(const BatchPosition& position, const BatchMemory& memory) const override;
  void fill(Batch& batch) const override;
  BatchPosition after(const BatchPosition& position) const override;

 private:
  const TextData& data_;
  const BucketOrder& order_;
};

struct TextLoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = true;
  uint64_t seed = 0;
  int64_t buckets = 8;                       // where no lengths are given
  std::vector<int64_t> bucket_lengths = {};  // empty: bucket_lengths() of the chosen ones
  int prefetch = 2;  // batches made ahead by a background thread; 0: made in next()
};

// Batches of a text set's chosen sequences in BucketOrder's order, epoch after epoch without end,
// in host memory. A batch's memory is valid until the second next() after it.
class TextLoader {
 public:
  TextLoader(const TextData& data, const std::vector<int64_t>& indices,
             const TextLoaderOptions& options);

  int64_t samples() const { return order_.samples(); }
  int64_t batches_per_epoch() const { return order_.batches_per_epoch(); }
  const BucketOrder& order() const { return order_; }

  Batch next() { return source_.prepare(); }
  void seek(int64_t epoch, int64_t index);  // the batch that next() returns next: exact resume

 private:
  BucketOrder order_;
  HostBatches source_;
};

}  // namespace flyball

#pragma once

#include <vector>

#include "framework/bucket_order.h"
#include "framework/data_loader.h"

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

// Batches of a text set's chosen sequences in BucketOrder's order.
class TextLoader : public DataLoader {
 public:
  TextLoader(const Stream& stream, const TextData& data, const std::vector<int64_t>& indices,
             const TextLoaderOptions& options);

  int64_t samples() const override { return order_.samples(); }
  int64_t batches_per_epoch() const override { return order_.batches_per_epoch(); }
  const BucketOrder& order() const { return order_; }

 private:
  BatchSource& source() const override { return *source_; }
  void check(const BatchPosition& position) const override { order_.check(position); }

  BucketOrder order_;
  std::unique_ptr<BatchSource> source_;  // last: its thread reads the order
};

}  // namespace flyball

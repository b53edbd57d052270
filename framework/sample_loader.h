#pragma once

#include <vector>

#include "framework/data_loader.h"

namespace flyball {

// Where a data set is kept while a device trains on it. automatic: in the device's memory where it
// takes less than a quarter of what is free there.
enum class Residence : uint8_t { automatic, host, device };

struct SampleLoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = true;  // a new order every epoch, from (seed, epoch) alone
  uint64_t seed = 0;
  Augmentation augmentation = {};
  int prefetch = 2;  // batches made ahead by a background thread; 0: made in next()
  Residence residence = Residence::automatic;  // on the CPU there is one memory only
};

// Batches of samples of one shape, x [count, sample shape]; the last batch of an epoch may be
// smaller.
class SampleLoader : public DataLoader {
 public:
  SampleLoader(const Stream& stream, const Dataset& dataset, std::vector<int64_t> indices,
               const SampleLoaderOptions& options);

  int64_t samples() const override { return order_.samples(); }
  int64_t batches_per_epoch() const override { return order_.batches_per_epoch(); }
  const Dataset& dataset() const { return dataset_; }
  bool resident() const { return resident_; }

 private:
  BatchSource& source() const override { return *source_; }
  void check(const BatchPosition& position) const override { order_.check(position); }

  const Dataset& dataset_;
  BatchOrder order_;
  bool resident_ = false;
  std::unique_ptr<BatchSource> source_;  // last: its thread reads the others
};

}  // namespace flyball

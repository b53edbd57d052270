#pragma once

#include <memory>
#include <vector>

#include "framework/batch_source.h"

namespace flyball {

// Where a data set is kept while a device trains on it. automatic: in the device's memory where it
// takes less than a quarter of what is free there.
enum class Residence : uint8_t { automatic, host, device };

struct DataLoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = true;  // a new order every epoch, from (seed, epoch) alone
  uint64_t seed = 0;
  Augmentation augmentation = {};
  int prefetch = 2;  // batches made ahead by a background thread; 0: made in next()
  Residence residence = Residence::automatic;  // on the CPU there is one memory only
};

// Batches of a data set's chosen samples, epoch after epoch without end; the last batch of an epoch
// may be smaller. A batch's memory is reused: on the CPU it is valid until the second next() after
// it, whatever seek() does between; on other devices until the next one, in the stream's order.
class DataLoader {
 public:
  DataLoader(const Stream& stream, const Dataset& dataset, std::vector<int64_t> indices,
             const DataLoaderOptions& options);

  int64_t samples() const { return order_.samples(); }
  int64_t batches_per_epoch() const { return order_.batches_per_epoch(); }
  const Dataset& dataset() const { return dataset_; }
  bool resident() const { return resident_; }

  Batch next();  // prepare() and load(); rethrows what the background thread met
  // The halves of next(), for steps that are captured into a graph: the host's, each time, and the
  // device's, which a replay repeats and which loads the batch that is its turn.
  Batch prepare() { return source_->prepare(); }
  void load(const Batch& batch) { source_->load(batch); }

  void seek(int64_t epoch, int64_t index);  // the batch that next() returns next: exact resume
  // Batches that waited for their memory because the device was that far behind.
  int64_t full_waits() const;

 private:
  const Dataset& dataset_;
  BatchOrder order_;
  bool resident_ = false;
  std::unique_ptr<BatchSource> source_;
};

}  // namespace flyball

#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "framework/dataset.h"

namespace flyball {

struct Batch {
  Tensor x;       // [count, sample shape] f32
  Tensor labels;  // [count] i32
  int64_t count = 0;
  int64_t epoch = 0;
  int64_t index = 0;  // within the epoch
};

struct DataLoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = true;  // a new order every epoch, from (seed, epoch) alone
  uint64_t seed = 0;
  Augmentation augmentation = {};
  int prefetch = 2;  // batches prepared ahead by a background thread; 0: prepared in next()
};

// Batches of a data set's chosen samples, epoch after epoch without end; the last batch of an epoch
// may be smaller. A batch's memory is reused: it is valid until the second next() after it,
// whatever seek() does between.
class DataLoader {
 public:
  DataLoader(const Stream& stream, const Dataset& dataset, std::vector<int64_t> indices,
             const DataLoaderOptions& options);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  int64_t samples() const { return static_cast<int64_t>(indices_.size()); }
  int64_t batches_per_epoch() const;
  const Dataset& dataset() const { return dataset_; }

  Batch next();                             // rethrows what the background thread met
  void seek(int64_t epoch, int64_t index);  // the batch that next() returns next: exact resume

 private:
  struct Position {
    int64_t epoch = 0, index = 0;
  };
  struct Slot {
    Tensor x, labels;
  };

  void start();
  void stop();
  void prefetch_loop();
  Batch make(const Position& position, Slot& slot);
  Position after(const Position& position) const;
  Slot& slot_of(size_t batch) { return slots_[batch % slots_.size()]; }

  Batch on_device(Batch batch) const;

  const Stream& stream_;
  const Stream host_;  // batches are made in host memory
  const Dataset& dataset_;
  std::vector<int64_t> indices_;
  DataLoaderOptions options_;
  std::vector<Slot> slots_;
  size_t taken_ = 0;  // batches that next() has returned

  Position position_;  // of the next batch to make
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace flyball

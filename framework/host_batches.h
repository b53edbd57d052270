#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "framework/batch_source.h"

namespace flyball {

// Batches of a data set's samples in the order's order.
class SampleBatches : public BatchMaker {
 public:
  SampleBatches(const Dataset& dataset, const BatchOrder& order, const Augmentation& augmentation)
      : dataset_(dataset), order_(order), augmentation_(augmentation) {}
  BatchMemory memory(const Allocate& allocate) const override;
  Batch view(const BatchPosition& position, const BatchMemory& memory) const override;
  void fill(Batch& batch) const override;
  BatchPosition after(const BatchPosition& position) const override;

 private:
  const Stream host_;
  const Dataset& dataset_;
  const BatchOrder& order_;
  Augmentation augmentation_;
};

// Batches in a ring of slots in host memory, made ahead by a background thread.
class HostBatches : public BatchSource {
 public:
  struct Options {
    int prefetch = 2;                    // 0: made in prepare()
    const Stream* pinned_for = nullptr;  // slots in memory pinned for this stream's device
    // Whether nobody reads a slot's memory any more that was handed out a whole ring ago.
    std::function<bool(size_t slot)> reusable = [](size_t) { return true; };
  };
  HostBatches(std::unique_ptr<const BatchMaker> maker, Options options);
  ~HostBatches() override;

  Batch prepare() override;
  void load(const Batch&) override {}
  void seek(const BatchPosition& position) override;

  const BatchMaker& maker() const { return *maker_; }
  size_t slots() const { return slots_.size(); }
  int64_t full_waits() const { return full_waits_; }  // batches that had to wait for their slot

 private:
  void start();
  void stop();
  void prefetch_loop();
  bool wait_for_slot(size_t slot, const std::function<bool()>& stopped);
  Batch make(const BatchPosition& position, const BatchMemory& slot);
  size_t slot_of(size_t batch) const { return batch % slots_.size(); }

  const Stream host_;
  std::unique_ptr<const BatchMaker> maker_;
  Options options_;
  std::vector<BatchMemory> slots_;
  size_t taken_ = 0;  // batches that prepare() has returned
  std::atomic<int64_t> full_waits_ = 0;

  BatchPosition position_;  // of the next batch to make
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace flyball

#pragma once

#include <vector>

#include "framework/learning_rate.h"

namespace flyball {

// Reads the records that finished steps left in the learning rate's ring, late and in order. Steps
// are lost, and counted, when more than the ring holds have passed between two reads.
class StepLog {
 public:
  StepLog(const Stream& stream, const LearningRate& rate);
  ~StepLog();
  StepLog(const StepLog&) = delete;
  StepLog& operator=(const StepLog&) = delete;

  // Records of the steps that were enqueued before the call before this one, and on the CPU of all:
  // a copy of the newest to pinned memory is enqueued and read next time, when it is long done.
  // `steps`: enqueued so far. The host waits (counted) only where that copy is not done even now.
  std::vector<StepRecord> drain_late(int64_t steps);

  // Records of all steps enqueued so far. The host waits for them (counted).
  std::vector<StepRecord> drain();

  int64_t next_step() const { return copied_; }  // the first that no copy was enqueued of
  int64_t lost() const { return lost_; }
  void resume_at(int64_t step) { returned_ = copied_ = step; }

 private:
  void enqueue_copy(int64_t steps);
  void take_copied(std::vector<StepRecord>& records);

  const Stream& stream_;
  const LearningRate& rate_;
  Tensor pinned_;  // the ring as it was at the last copy
  Event copy_done_;
  int64_t returned_ = 0;  // steps before it were returned
  int64_t copied_ = 0;    // steps before it are in pinned memory once copy_done_ is passed
  int64_t lost_ = 0;
};

}  // namespace flyball

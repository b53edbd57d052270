#pragma once

#include <vector>

#include "framework/learning_rate.h"

namespace flyball {

// Reads the records that finished steps left in the learning rate's ring, late and in order.
class StepLog {
 public:
  explicit StepLog(const LearningRate& rate) : rate_(rate) {}

  // Records of the steps that finished since the last drain. Steps are lost, and counted, when more
  // than the ring holds have passed in between. The host waits for the steps already enqueued
  // (counted), so a training loop drains at intervals.
  std::vector<StepRecord> drain(const Stream& stream);
  int64_t lost() const { return lost_; }
  void resume_at(int64_t step) { next_ = step; }

 private:
  const LearningRate& rate_;
  int64_t next_ = 0;  // first step not yet returned
  int64_t lost_ = 0;
};

}  // namespace flyball

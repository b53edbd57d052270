#include "framework/step_log.h"

#include <algorithm>

#include "framework/run.h"

namespace flyball {
namespace {

constexpr int64_t kCapacity = LearningRate::kLogCapacity;

const StepRecord* records_in(const Tensor& ring) {
  return static_cast<const StepRecord*>(ring.raw());
}

}  // namespace

StepLog::StepLog(const Stream& stream, const LearningRate& rate)
    : stream_(stream),
      rate_(rate),
      pinned_(Tensor::pinned(stream, {kCapacity * static_cast<int64_t>(sizeof(StepRecord))},
                             DType::u8)) {}

// A copy under way writes to pinned_. After a fault on the device there is none.
StepLog::~StepLog() {
  try {
    if (returned_ < copied_) copy_done_.synchronize();
  } catch (const Error&) {
  }
}

std::vector<StepRecord> StepLog::drain_late(int64_t steps) {
  std::vector<StepRecord> records;
  take_copied(records);
  enqueue_copy(steps);
  if (copy_done_.ready()) take_copied(records);
  return records;
}

std::vector<StepRecord> StepLog::drain() {
  std::vector<StepRecord> records;
  take_copied(records);
  int64_t steps = 0;
  copy_to_host(stream_, &steps, rate_.step(), sizeof steps);
  enqueue_copy(steps);
  take_copied(records);
  return records;
}

// Steps [copied_, steps) to their places in the pinned ring: at most up to its end, and from its
// start.
void StepLog::enqueue_copy(int64_t steps) {
  if (steps - copied_ > kCapacity) {
    lost_ += steps - kCapacity - copied_;
    returned_ = copied_ = steps - kCapacity;
  }
  auto* to = static_cast<StepRecord*>(pinned_.mutable_raw());
  while (copied_ < steps) {
    const int64_t at = copied_ % kCapacity;
    const int64_t count = std::min(steps - copied_, kCapacity - at);
    copy_pinned(stream_, to + at, rate_.log() + at,
                count * static_cast<int64_t>(sizeof(StepRecord)));
    copied_ += count;
  }
  copy_done_.record(stream_);
}

void StepLog::take_copied(std::vector<StepRecord>& records) {
  if (returned_ == copied_) return;
  if (!copy_done_.ready()) copy_done_.synchronize();
  for (; returned_ < copied_; ++returned_) {
    records.push_back(records_in(pinned_)[returned_ % kCapacity]);
  }
}

}  // namespace flyball

#include "framework/step_log.h"

#include <algorithm>

#include "framework/run.h"

namespace flyball {

std::vector<StepRecord> StepLog::drain(const Stream& stream) {
  constexpr int64_t kCapacity = LearningRate::kLogCapacity;
  int64_t finished = 0;
  copy_to_host(stream, &finished, rate_.step(), sizeof finished);
  if (finished - next_ > kCapacity) {
    lost_ += finished - kCapacity - next_;
    next_ = finished - kCapacity;
  }
  std::vector<StepRecord> records(static_cast<size_t>(std::max<int64_t>(0, finished - next_)));
  // At most two runs of the ring: up to its end, and from its start.
  for (int64_t done = 0; done < static_cast<int64_t>(records.size());) {
    const int64_t at = (next_ + done) % kCapacity;
    const int64_t count = std::min(static_cast<int64_t>(records.size()) - done, kCapacity - at);
    copy_to_host(stream, records.data() + done, rate_.log() + at,
                 count * static_cast<int64_t>(sizeof(StepRecord)));
    done += count;
  }
  next_ = finished;
  return records;
}

}  // namespace flyball

#include "framework/batch_order.h"

#include <algorithm>

#include "framework/random_streams.h"
#include "kernels/permutation.h"

namespace flyball {

BatchOrder::BatchOrder(std::vector<int64_t> indices, int64_t size, const std::string& name,
                       int64_t batch_size, bool shuffle, uint64_t seed)
    : indices_(std::move(indices)), batch_size_(batch_size), shuffle_(shuffle), seed_(seed) {
  if (batch_size < 1) {
    throw Error(str("data loader: batch size is ", batch_size, ", expected at least 1"));
  }
  if (indices_.empty()) throw Error(str("data loader: no samples chosen from ", name));
  for (int64_t index : indices_) {
    if (index >= 0 && index < size) continue;
    throw Error(str("data loader: sample ", index, " of ", name, ", expected below ", size));
  }
}

int64_t BatchOrder::batches_per_epoch() const {
  return (samples() + batch_size_ - 1) / batch_size_;
}

int64_t BatchOrder::count(int64_t index) const {
  return std::min(batch_size_, samples() - index * batch_size_);
}

std::vector<int64_t> BatchOrder::samples_of(const BatchPosition& position) const {
  const int64_t first = position.index * batch_size_;
  std::vector<int64_t> chosen(static_cast<size_t>(count(position.index)));
  for (size_t i = 0; i < chosen.size(); ++i) {
    int64_t place = first + static_cast<int64_t>(i);
    if (shuffle_) {
      place = permuted(place, samples(), seed_, static_cast<uint32_t>(position.epoch),
                       random_streams::kShuffle);
    }
    chosen[i] = indices_[static_cast<size_t>(place)];
  }
  return chosen;
}

BatchPosition BatchOrder::after(const BatchPosition& position) const {
  if (position.index + 1 < batches_per_epoch()) return {position.epoch, position.index + 1};
  return {position.epoch + 1, 0};
}

void BatchOrder::check(const BatchPosition& position) const {
  if (position.epoch >= 0 && position.index >= 0 && position.index < batches_per_epoch()) return;
  throw Error(str("data loader: seek to epoch ", position.epoch, ", batch ", position.index,
                  ", expected at least 0 and a batch below ", batches_per_epoch()));
}

}  // namespace flyball

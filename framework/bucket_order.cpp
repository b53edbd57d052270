#include "framework/bucket_order.h"

#include <algorithm>
#include <limits>
#include <map>

#include "framework/random_streams.h"
#include "kernels/permutation.h"

namespace flyball {
namespace {

constexpr int64_t kMultiple = 8;

void check_indices(const TextData& data, const std::vector<int64_t>& indices) {
  if (indices.empty()) throw Error(str("text loader: no samples chosen from ", data.name));
  for (const int64_t index : indices) {
    if (index >= 0 && index < data.size()) continue;
    throw Error(
        str("text loader: sample ", index, " of ", data.name, ", expected below ", data.size()));
  }
}

}  // namespace

std::vector<int64_t> bucket_lengths(const TextData& data, const std::vector<int64_t>& indices,
                                    int64_t count) {
  if (count < 1) throw Error(str("text loader: ", count, " buckets, expected at least 1"));
  check_indices(data, indices);
  std::map<int64_t, int64_t> sequences;  // of each rounded length
  for (const int64_t index : indices) {
    ++sequences[std::max((data.length(index) + kMultiple - 1) / kMultiple, int64_t{1}) * kMultiple];
  }
  std::vector<int64_t> lengths;
  std::vector<int64_t> up_to{0};  // sequences of the first i lengths
  for (const auto& [length, number] : sequences) {
    lengths.push_back(length);
    up_to.push_back(up_to.back() + number);
  }
  // cost[b][i]: padded tokens of the first i lengths in b buckets, the last of which is i - 1's;
  // from[b][i]: lengths before that bucket.
  const size_t n = lengths.size();
  const size_t buckets = std::min(static_cast<size_t>(count), n);
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::vector cost(buckets + 1, std::vector<int64_t>(n + 1, kNone));
  std::vector from(buckets + 1, std::vector<size_t>(n + 1));
  cost[0][0] = 0;
  for (size_t b = 1; b <= buckets; ++b) {
    for (size_t i = b; i <= n; ++i) {
      for (size_t before = b - 1; before < i; ++before) {
        if (cost[b - 1][before] == kNone) continue;
        const int64_t total = cost[b - 1][before] + (up_to[i] - up_to[before]) * lengths[i - 1];
        if (total >= cost[b][i]) continue;
        cost[b][i] = total;
        from[b][i] = before;
      }
    }
  }
  std::vector<int64_t> chosen;
  for (size_t b = buckets, i = n; b > 0; i = from[b][i], --b) chosen.push_back(lengths[i - 1]);
  std::reverse(chosen.begin(), chosen.end());
  return chosen;
}

BucketOrder::BucketOrder(const TextData& data, const std::vector<int64_t>& indices,
                         std::vector<int64_t> lengths, int64_t batch_size, bool shuffle,
                         uint64_t seed)
    : lengths_(std::move(lengths)), batch_size_(batch_size), shuffle_(shuffle), seed_(seed) {
  if (batch_size < 1) {
    throw Error(str("text loader: batch size is ", batch_size, ", expected at least 1"));
  }
  check_indices(data, indices);
  for (size_t i = 0; i < lengths_.size(); ++i) {
    const int64_t least = i == 0 ? 1 : lengths_[i - 1] + 1;
    if (lengths_[i] >= least) continue;
    throw Error(str("text loader: length of bucket ", i, " is ", lengths_[i],
                    ", expected at least ", least));
  }
  std::vector<std::vector<int64_t>> buckets(lengths_.size());
  for (const int64_t index : indices) {
    const int64_t length = data.length(index);
    const auto bucket = std::lower_bound(lengths_.begin(), lengths_.end(), length);
    if (length < 1 || bucket == lengths_.end()) {
      throw Error(str("text loader: sequence ", index, " of ", data.name, " has length ", length,
                      ", expected 1..", lengths_.empty() ? 0 : lengths_.back()));
    }
    buckets[static_cast<size_t>(bucket - lengths_.begin())].push_back(index);
  }
  for (const std::vector<int64_t>& bucket : buckets) {
    starts_.push_back(samples());
    indices_.insert(indices_.end(), bucket.begin(), bucket.end());
  }
}

int64_t BucketOrder::batches_per_epoch() const {
  return (samples() + batch_size_ - 1) / batch_size_;
}

int64_t BucketOrder::count(int64_t index) const {
  return std::min(batch_size_, samples() - index * batch_size_);
}

int64_t BucketOrder::largest_tokens() const {
  const int64_t longest = lengths_[bucket_at(samples() - 1)];
  return longest * largest_batch();
}

int64_t BucketOrder::cut_of(const BatchPosition& position) const {
  const int64_t whole = samples() / batch_size_;
  if (!shuffle_ || position.index >= whole) return position.index;
  return permuted(position.index, whole, seed_, static_cast<uint32_t>(position.epoch),
                  random_streams::kBatchShuffle);
}

size_t BucketOrder::bucket_at(int64_t place) const {
  return static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), place) -
                             starts_.begin() - 1);
}

int64_t BucketOrder::time(const BatchPosition& position) const {
  return lengths_[bucket_at(cut_of(position) * batch_size_ + count(position.index) - 1)];
}

std::vector<int64_t> BucketOrder::samples_of(const BatchPosition& position) const {
  const int64_t first = cut_of(position) * batch_size_;
  std::vector<int64_t> chosen(static_cast<size_t>(count(position.index)));
  for (size_t i = 0; i < chosen.size(); ++i) {
    int64_t place = first + static_cast<int64_t>(i);
    if (shuffle_) {
      const size_t bucket = bucket_at(place);
      const int64_t start = starts_[bucket];
      const int64_t end = bucket + 1 < starts_.size() ? starts_[bucket + 1] : samples();
      place =
          start + permuted(place - start, end - start, seed_, static_cast<uint32_t>(position.epoch),
                           random_streams::kBuckets + static_cast<uint32_t>(bucket));
    }
    chosen[i] = indices_[static_cast<size_t>(place)];
  }
  return chosen;
}

BatchPosition BucketOrder::after(const BatchPosition& position) const {
  if (position.index + 1 < batches_per_epoch()) return {position.epoch, position.index + 1};
  return {position.epoch + 1, 0};
}

void BucketOrder::check(const BatchPosition& position) const {
  if (position.epoch >= 0 && position.index >= 0 && position.index < batches_per_epoch()) return;
  throw Error(str("text loader: seek to epoch ", position.epoch, ", batch ", position.index,
                  ", expected at least 0 and a batch below ", batches_per_epoch()));
}

}  // namespace flyball

#pragma once

#include <string>
#include <vector>

#include "framework/batch_order.h"
#include "framework/text_data.h"

namespace flyball {

// At most `count` lengths, each a multiple of 8 and the last at least as long as the longest chosen
// sequence, that need the least padding when every sequence is padded to the shortest of them that
// holds it. By dynamic programming over the lengths that occur.
std::vector<int64_t> bucket_lengths(const TextData& data, const std::vector<int64_t>& indices,
                                    int64_t count);

// Which sequences make up which batch, and how long it is: a bucket holds the sequences that one of
// the given lengths is the shortest for. All buckets, short to long, each in a new order every
// epoch, make one row of sequences, which is cut every `batch_size`; a batch is as long as its last
// sequence's bucket. So there is at most one shape a bucket, and one for the epoch's last batch,
// which may be smaller; the others come in a new order every epoch, too. All from (seed, epoch)
// alone. Without shuffle: buckets and batches from short to long, inside a bucket as chosen.
class BucketOrder {
 public:
  // indices: the chosen sequences. lengths: ascending, the last at least as long as the longest
  // sequence. Throws Error.
  BucketOrder(const TextData& data, const std::vector<int64_t>& indices,
              std::vector<int64_t> lengths, int64_t batch_size, bool shuffle, uint64_t seed);

  int64_t samples() const { return static_cast<int64_t>(indices_.size()); }
  int64_t batch_size() const { return batch_size_; }
  int64_t batches_per_epoch() const;
  int64_t largest_batch() const { return count(0); }
  int64_t largest_tokens() const;                     // time x count of the largest batch
  int64_t count(int64_t index) const;                 // sequences in a batch
  int64_t time(const BatchPosition& position) const;  // padded length of a batch
  const std::vector<int64_t>& lengths() const { return lengths_; }

  std::vector<int64_t> samples_of(const BatchPosition& position) const;
  BatchPosition after(const BatchPosition& position) const;
  void check(const BatchPosition& position) const;

 private:
  int64_t cut_of(const BatchPosition& position) const;  // which cut of the row the batch is
  size_t bucket_at(int64_t place) const;                // of a place in the row

  std::vector<int64_t> lengths_, starts_;  // of the buckets; where each starts in the row
  std::vector<int64_t> indices_;           // bucket after bucket
  int64_t batch_size_;
  bool shuffle_;
  uint64_t seed_;
};

}  // namespace flyball

#pragma once

#include <functional>

#include "framework/batch_order.h"
#include "framework/dataset.h"

namespace flyball {

// Where a DataLoader's batches come from.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // The host's half of the next batch. Its tensors hold the batch once load() has run on the
  // stream. Rethrows what making the batch threw.
  virtual Batch prepare() = 0;
  // The device's half: enqueued work alone, the same for every batch of one size.
  virtual void load(const Batch& batch) = 0;
  virtual void seek(const BatchPosition& position) = 0;
};

// Memory for batches of up to `rows` samples.
struct BatchMemory {
  Tensor x, labels;
  Batch batch(int64_t count, const BatchPosition& position) const {
    return {.x = x.slice(0, count),
            .labels = labels.slice(0, count),
            .count = count,
            .epoch = position.epoch,
            .index = position.index};
  }
};

// What the batches of one set are, and how one is made on the host.
class BatchMaker {
 public:
  using Allocate = std::function<Tensor(const Shape& shape, DType dtype)>;

  virtual ~BatchMaker() = default;
  // Memory that holds any one of the batches.
  virtual BatchMemory memory(const Allocate& allocate) const = 0;
  // The tensors of a batch inside such memory, on any device. Each of x and labels (with lengths,
  // which follow the labels) starts where its memory does.
  virtual Batch view(const BatchPosition& position, const BatchMemory& memory) const = 0;
  // Writes the samples of a batch in host memory.
  virtual void fill(Batch& batch) const = 0;
  virtual BatchPosition after(const BatchPosition& position) const = 0;
};

// [rows, sample shape]; throws Error where a sample of the set is neither a row nor an image.
inline Shape batch_shape(const Dataset& dataset, int64_t rows) {
  const Shape sample = dataset.sample_shape();
  if (sample.rank() == 1) return {rows, sample[0]};
  if (sample.rank() == 3) return {rows, sample[0], sample[1], sample[2]};
  throw Error(str("data loader: a sample of ", dataset.name(), " has shape ", sample,
                  ", expected 1 or 3 axes"));
}

}  // namespace flyball

#pragma once

#include <memory>

#include "framework/batch_source.h"
#include "kernels/batch.h"

namespace flyball {

// Batches of a data set that lies in the device's memory: order, gather and augmentation are
// computed there from a cursor that load() moves on. The host only counts.
class ResidentBatches : public BatchSource {
 public:
  // dataset: on the stream's device.
  ResidentBatches(const Stream& stream, std::shared_ptr<const Dataset> dataset,
                  const BatchOrder& order, const Augmentation& augmentation);

  Batch prepare() override;
  void load(const Batch& batch) override;
  void seek(const BatchPosition& position) override;

 private:
  const Stream& stream_;
  std::shared_ptr<const Dataset> dataset_;
  const BatchOrder& order_;
  Augmentation augmentation_;
  BatchMemory current_;
  Tensor chosen_, indices_;  // bytes: int64_t
  Tensor epoch_;             // [1] i32
  DeviceValue<BatchCursor> cursor_;
  BatchPosition position_;  // of the next batch
};

}  // namespace flyball

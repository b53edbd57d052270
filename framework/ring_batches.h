#pragma once

#include "framework/host_batches.h"

namespace flyball {

// Batches that are made on the host, for another device. A slot of pinned memory is copied to its
// slot on the device by a copy stream, while earlier steps compute; load() takes the slot that a
// counter in device memory says, so a replayed step reads the batch that is its turn. The host
// never waits for the device, but where the ring is full the background thread does (full_waits).
class RingBatches : public BatchSource {
 public:
  RingBatches(const Stream& stream, std::unique_ptr<const BatchMaker> maker, int prefetch);
  ~RingBatches() override;

  Batch prepare() override;
  void load(const Batch& batch) override;
  void seek(const BatchPosition& position) override;
  int64_t full_waits() const { return host_.full_waits(); }

 private:
  struct Slot {
    Event copied;    // to the device
    Event consumed;  // by the step that took it
  };

  const Stream& stream_;
  Stream copy_stream_;
  std::vector<Slot> slots_;
  HostBatches host_;
  Tensor ring_x_, ring_labels_;  // bytes, on the device: slot after slot
  int64_t x_slot_bytes_, labels_slot_bytes_;
  BatchMemory current_;
  DeviceValue<int64_t> taken_;  // slots that load() has taken
  Tensor arrivals_;
  int64_t prepared_ = 0;
};

}  // namespace flyball

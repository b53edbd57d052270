#include "framework/ring_batches.h"

#include "framework/run.h"
#include "kernels/batch.h"

namespace flyball {
namespace {

// Slots start at multiples of 16 bytes.
int64_t slot_bytes(const Tensor& tensor) { return (tensor.bytes() + 15) / 16 * 16; }

// Lengths lie behind the labels.
int64_t label_bytes(const Batch& batch) {
  return batch.labels.bytes() + (batch.lengths.defined() ? batch.lengths.bytes() : 0);
}

}  // namespace

RingBatches::RingBatches(const Stream& stream, std::unique_ptr<const BatchMaker> maker,
                         int prefetch)
    : stream_(stream),
      copy_stream_(stream.device()),
      slots_(static_cast<size_t>(prefetch) + 3),
      host_(std::move(maker),
            {.prefetch = prefetch,
             .pinned_for = &stream,
             .reusable = [this](size_t slot) { return slots_[slot].copied.ready(); }}),
      current_(host_.maker().memory([&stream](const Shape& shape, DType dtype) {
        return Tensor::empty(stream, shape, dtype);
      })),
      taken_(stream, 0),
      arrivals_(Tensor::zeros(stream, {1}, DType::i32)) {
  x_slot_bytes_ = slot_bytes(current_.x);
  labels_slot_bytes_ = slot_bytes(current_.labels);
  const auto slots = static_cast<int64_t>(host_.slots());
  ring_x_ = Tensor::empty(copy_stream_, {slots * x_slot_bytes_}, DType::u8);
  ring_labels_ = Tensor::empty(copy_stream_, {slots * labels_slot_bytes_}, DType::u8);
  ring_x_.record_use(stream);
  ring_labels_.record_use(stream);
}

// Copies under way read the pinned slots. After a fault on the device there are none.
RingBatches::~RingBatches() {
  try {
    copy_stream_.synchronize();
  } catch (const Error&) {
  }
}

Batch RingBatches::prepare() {
  const Batch host = host_.prepare();
  const auto count = static_cast<int64_t>(slots_.size());
  // Whatever took the slot before this one is enqueued by now.
  if (prepared_ > 0) slots_[static_cast<size_t>((prepared_ - 1) % count)].consumed.record(stream_);
  const int64_t at = prepared_ % count;
  Slot& slot = slots_[static_cast<size_t>(at)];
  ++prepared_;
  copy_stream_.wait(slot.consumed);
  copy_pinned(copy_stream_, static_cast<std::byte*>(ring_x_.mutable_raw()) + at * x_slot_bytes_,
              host.x.raw(), host.x.bytes());
  copy_pinned(copy_stream_,
              static_cast<std::byte*>(ring_labels_.mutable_raw()) + at * labels_slot_bytes_,
              host.labels.raw(), label_bytes(host));
  slot.copied.record(copy_stream_);
  stream_.wait(slot.copied);
  return host_.maker().view({host.epoch, host.index}, current_);
}

void RingBatches::load(const Batch& batch) {
  current_.x.mark_written();
  current_.labels.mark_written();
  run<cpu::take_slot, cuda::take_slot>(
      stream_,
      TakeSlot{.x = {ring_x_.raw(), x_slot_bytes_, current_.x.mutable_raw(), batch.x.bytes()},
               .labels = {ring_labels_.raw(), labels_slot_bytes_, current_.labels.mutable_raw(),
                          label_bytes(batch)},
               .slots = static_cast<int64_t>(slots_.size()),
               .taken = taken_.get(),
               .arrivals = static_cast<uint32_t*>(arrivals_.mutable_raw())});
}

void RingBatches::seek(const BatchPosition& position) {
  host_.seek(position);
  taken_.set(stream_, prepared_);
}

}  // namespace flyball

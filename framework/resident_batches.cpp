#include "framework/resident_batches.h"

#include "framework/random_streams.h"
#include "framework/run.h"

namespace flyball {
namespace {

constexpr auto kIndexBytes = static_cast<int64_t>(sizeof(int64_t));

}  // namespace

ResidentBatches::ResidentBatches(const Stream& stream, std::shared_ptr<const Dataset> dataset,
                                 const BatchOrder& order, const Augmentation& augmentation)
    : stream_(stream),
      dataset_(std::move(dataset)),
      order_(order),
      augmentation_(augmentation),
      current_{Tensor::empty(stream, batch_shape(*dataset_, order.largest_batch())),
               Tensor::empty(stream, {order.largest_batch()}, DType::i32)},
      chosen_(Tensor::empty(stream, {order.samples() * kIndexBytes}, DType::u8)),
      indices_(Tensor::empty(stream, {order.largest_batch() * kIndexBytes}, DType::u8)),
      epoch_(Tensor::empty(stream, {1}, DType::i32)),
      cursor_(stream, {}) {
  copy_to_device(stream, chosen_.mutable_raw(), order.indices().data(), chosen_.bytes());
}

Batch ResidentBatches::prepare() {
  const BatchPosition at = position_;
  position_ = order_.after(at);
  return current_.batch(order_.count(at.index), at);
}

void ResidentBatches::load(const Batch& batch) {
  auto* indices = static_cast<int64_t*>(indices_.mutable_raw());
  auto* epoch = static_cast<uint32_t*>(epoch_.mutable_raw());
  run<cpu::draw_batch, cuda::draw_batch>(
      stream_, DrawBatch{.chosen = static_cast<const int64_t*>(chosen_.raw()),
                         .samples = order_.samples(),
                         .batch_size = order_.batch_size(),
                         .n = batch.count,
                         .shuffle = order_.shuffle(),
                         .seed = order_.seed(),
                         .stream = random_streams::kShuffle,
                         .cursor = cursor_.get(),
                         .indices = indices,
                         .epoch = epoch});
  dataset_->gather(stream_, indices, batch.count, augmentation_, order_.seed(), epoch,
                   current_.x.mutable_data<float>(), current_.labels.mutable_data<int32_t>());
}

void ResidentBatches::seek(const BatchPosition& position) {
  position_ = position;
  cursor_.set(stream_, {position.epoch, position.index});
}

}  // namespace flyball

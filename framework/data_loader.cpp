#include "framework/data_loader.h"

#include <algorithm>

#include "framework/random_streams.h"
#include "framework/run.h"
#include "kernels/permutation.h"

namespace flyball {

DataLoader::DataLoader(const Stream& stream, const Dataset& dataset, std::vector<int64_t> indices,
                       const DataLoaderOptions& options)
    : stream_(stream), dataset_(dataset), indices_(std::move(indices)), options_(options) {
  if (options.batch_size < 1) {
    throw Error(str("data loader: batch size is ", options.batch_size, ", expected at least 1"));
  }
  if (options.prefetch < 0) {
    throw Error(str("data loader: prefetch is ", options.prefetch, ", expected at least 0"));
  }
  if (indices_.empty()) throw Error(str("data loader: no samples chosen from ", dataset.name()));
  for (int64_t index : indices_) {
    if (index >= 0 && index < dataset.size()) continue;
    throw Error(str("data loader: sample ", index, " of ", dataset.name(), ", expected below ",
                    dataset.size()));
  }
  const int64_t rows = std::min(options.batch_size, samples());
  const Shape sample = dataset.sample_shape();
  if (sample.rank() != 1 && sample.rank() != 3) {
    throw Error(str("data loader: a sample of ", dataset.name(), " has shape ", sample,
                    ", expected 1 or 3 axes"));
  }
  // The consumer holds up to two batches, the producer fills one, and `prefetch` wait.
  slots_.resize(static_cast<size_t>(options.prefetch) + 3);
  for (Slot& slot : slots_) {
    slot.x =
        Tensor::empty(host_, sample.rank() == 1 ? Shape{rows, sample[0]}
                                                : Shape{rows, sample[0], sample[1], sample[2]});
    slot.labels = Tensor::empty(host_, {rows}, DType::i32);
  }
  start();
}

DataLoader::~DataLoader() { stop(); }

int64_t DataLoader::batches_per_epoch() const {
  return (samples() + options_.batch_size - 1) / options_.batch_size;
}

void DataLoader::start() {
  if (options_.prefetch > 0) thread_ = std::thread([this] { prefetch_loop(); });
}

void DataLoader::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  stopping_ = false;
}

void DataLoader::prefetch_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(
        lock, [this] { return stopping_ || static_cast<int>(ready_.size()) < options_.prefetch; });
    if (stopping_) return;
    const Position position = position_;
    Slot& slot = slot_of(taken_ + ready_.size());
    lock.unlock();
    Batch batch;
    std::exception_ptr error;
    try {
      batch = make(position, slot);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error != nullptr) {
      error_ = error;
      changed_.notify_all();
      return;
    }
    position_ = after(position);
    ready_.push_back(std::move(batch));
    changed_.notify_all();
  }
}

Batch DataLoader::next() {
  if (options_.prefetch == 0) {
    Batch batch = make(position_, slot_of(taken_));
    position_ = after(position_);
    ++taken_;
    return on_device(std::move(batch));
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || error_ != nullptr; });
  if (ready_.empty()) std::rethrow_exception(error_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  ++taken_;
  changed_.notify_all();
  lock.unlock();
  return on_device(std::move(batch));
}

// The batch in the memory of the stream's device; copies are enqueued and have read the slot when
// they return.
Batch DataLoader::on_device(Batch batch) const {
  if (stream_.device() == host_.device()) return batch;
  for (Tensor* tensor : {&batch.x, &batch.labels}) {
    Tensor copy = Tensor::empty(stream_, tensor->shape(), tensor->dtype());
    copy_to_device(stream_, copy.mutable_raw(), tensor->raw(), tensor->bytes());
    *tensor = copy;
  }
  return batch;
}

void DataLoader::seek(int64_t epoch, int64_t index) {
  if (epoch < 0 || index < 0 || index >= batches_per_epoch()) {
    throw Error(str("data loader: seek to epoch ", epoch, ", batch ", index,
                    ", expected at least 0 and a batch below ", batches_per_epoch()));
  }
  stop();
  ready_.clear();
  error_ = nullptr;
  position_ = {epoch, index};
  start();
}

DataLoader::Position DataLoader::after(const Position& position) const {
  if (position.index + 1 < batches_per_epoch()) return {position.epoch, position.index + 1};
  return {position.epoch + 1, 0};
}

Batch DataLoader::make(const Position& position, Slot& slot) {
  const int64_t first = position.index * options_.batch_size;
  const int64_t count = std::min(options_.batch_size, samples() - first);
  const auto epoch = static_cast<uint32_t>(position.epoch);
  std::vector<int64_t> chosen(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t place = options_.shuffle ? permuted(first + i, samples(), options_.seed, epoch,
                                                      random_streams::kShuffle)
                                           : first + i;
    chosen[static_cast<size_t>(i)] = indices_[static_cast<size_t>(place)];
  }
  Batch batch{.x = slot.x.slice(0, count),
              .labels = slot.labels.slice(0, count),
              .count = count,
              .epoch = position.epoch,
              .index = position.index};
  dataset_.gather(host_, chosen.data(), count, options_.augmentation, options_.seed, epoch,
                  batch.x.mutable_data<float>(), batch.labels.mutable_data<int32_t>());
  return batch;
}

}  // namespace flyball

#include "framework/host_batches.h"

#include <chrono>

namespace flyball {

BatchMemory SampleBatches::memory(const Allocate& allocate) const {
  const int64_t rows = order_.largest_batch();
  return {allocate(batch_shape(dataset_, rows), DType::f32), allocate({rows}, DType::i32)};
}

Batch SampleBatches::view(const BatchPosition& position, const BatchMemory& memory) const {
  return memory.batch(order_.count(position.index), position);
}

void SampleBatches::fill(Batch& batch) const {
  const std::vector<int64_t> chosen = order_.samples_of({batch.epoch, batch.index});
  const auto epoch = static_cast<uint32_t>(batch.epoch);
  dataset_.gather(host_, chosen.data(), batch.count, augmentation_, order_.seed(), &epoch,
                  batch.x.mutable_data<float>(), batch.labels.mutable_data<int32_t>());
}

BatchPosition SampleBatches::after(const BatchPosition& position) const {
  return order_.after(position);
}

HostBatches::HostBatches(std::unique_ptr<const BatchMaker> maker, Options options)
    : maker_(std::move(maker)), options_(std::move(options)) {
  if (options_.prefetch < 0) {
    throw Error(str("data loader: prefetch is ", options_.prefetch, ", expected at least 0"));
  }
  // The consumer holds up to two batches, the producer fills one, and `prefetch` wait.
  slots_.resize(static_cast<size_t>(options_.prefetch) + 3);
  for (BatchMemory& slot : slots_) {
    slot = maker_->memory([&](const Shape& shape, DType dtype) {
      return options_.pinned_for != nullptr ? Tensor::pinned(*options_.pinned_for, shape, dtype)
                                            : Tensor::empty(host_, shape, dtype);
    });
  }
  start();
}

HostBatches::~HostBatches() { stop(); }

void HostBatches::start() {
  if (options_.prefetch > 0) thread_ = std::thread([this] { prefetch_loop(); });
}

void HostBatches::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  stopping_ = false;
}

// Asks rather than waits for the device: nobody is in a hurry here. False when stopped.
bool HostBatches::wait_for_slot(size_t slot, const std::function<bool()>& stopped) {
  if (options_.reusable(slot)) return true;
  ++full_waits_;
  while (!options_.reusable(slot)) {
    if (stopped()) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return true;
}

void HostBatches::prefetch_loop() {
  const auto stopped = [this] {
    const std::lock_guard lock(mutex_);
    return stopping_;
  };
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(
        lock, [this] { return stopping_ || static_cast<int>(ready_.size()) < options_.prefetch; });
    if (stopping_) return;
    const BatchPosition position = position_;
    const size_t slot = slot_of(taken_ + ready_.size());
    lock.unlock();
    Batch batch;
    std::exception_ptr error;
    try {
      if (!wait_for_slot(slot, stopped)) return;
      batch = make(position, slots_[slot]);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error != nullptr) {
      error_ = error;
      changed_.notify_all();
      return;
    }
    position_ = maker_->after(position);
    ready_.push_back(std::move(batch));
    changed_.notify_all();
  }
}

Batch HostBatches::prepare() {
  if (options_.prefetch == 0) {
    wait_for_slot(slot_of(taken_), [] { return false; });
    Batch batch = make(position_, slots_[slot_of(taken_)]);
    position_ = maker_->after(position_);
    ++taken_;
    return batch;
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || error_ != nullptr; });
  if (ready_.empty()) std::rethrow_exception(error_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  ++taken_;
  changed_.notify_all();
  return batch;
}

void HostBatches::seek(const BatchPosition& position) {
  stop();
  ready_.clear();
  error_ = nullptr;
  position_ = position;
  start();
}

Batch HostBatches::make(const BatchPosition& position, const BatchMemory& slot) {
  Batch batch = maker_->view(position, slot);
  maker_->fill(batch);
  return batch;
}

}  // namespace flyball

#include "framework/stream.h"

#include "framework/allocator.h"
#include "framework/device_runtime.h"

namespace flyball {

Stream::Stream(Device device) : device_(device), handle_(device_runtime(device).create_stream()) {}
Stream::~Stream() {
  DeviceRuntime& runtime = device_runtime(device_);
  if (handle_ != nullptr) allocator(device_).forget_stream(handle_);
  runtime.destroy_stream(handle_);
}

void Stream::wait(const Event& event) const {
  if (event.stream_ != nullptr) device_runtime(device_).wait(handle_, event.handle_);
}

void Stream::synchronize() const {
  device_runtime(device_).synchronize(handle_);
  count_synchronization();
}

Event::~Event() {
  if (stream_ != nullptr) device_runtime(stream_->device()).destroy_event(handle_);
}

void Event::record(const Stream& stream) {
  if (stream_ == nullptr || !(stream_->device() == stream.device())) {
    if (stream_ != nullptr) device_runtime(stream_->device()).destroy_event(handle_);
    handle_ = device_runtime(stream.device()).create_event();
  }
  stream_ = &stream;
  device_runtime(stream.device()).record(handle_, stream.handle());
}

bool Event::ready() const {
  return stream_ == nullptr || device_runtime(stream_->device()).ready(handle_);
}

void Event::synchronize() const {
  if (stream_ == nullptr) return;
  device_runtime(stream_->device()).synchronize_event(handle_);
  stream_->count_synchronization();
}

}  // namespace flyball

#pragma once

#include <atomic>
#include <cstdint>

#include "framework/device.h"

namespace flyball {

class Stream;

// A point in a stream's order of work.
class Event {
 public:
  Event() = default;
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Stream& stream);
  bool ready() const;        // whether all work before the point is done; never waits
  void synchronize() const;  // the host waits; counted by the stream it was recorded on

 private:
  friend class Stream;
  const Stream* stream_ = nullptr;  // null: never recorded, always ready
  void* handle_ = nullptr;
};

// Work on one device in order. Callers enqueue and go on; only synchronize() makes the host wait,
// and it is counted, since a training step must not contain one. On the CPU work runs at once,
// inside the enqueueing call.
class Stream {
 public:
  explicit Stream(Device device = {});
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  void* handle() const { return handle_; }  // a cudaStream_t on CUDA
  void wait(const Event& event) const;      // later work here starts after the event
  void synchronize() const;
  void count_synchronization() const { ++host_synchronizations_; }
  int64_t host_synchronizations() const { return host_synchronizations_; }

 private:
  Device device_;
  void* handle_ = nullptr;
  mutable std::atomic<int64_t> host_synchronizations_{0};
};

}  // namespace flyball

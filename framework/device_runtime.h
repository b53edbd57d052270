#pragma once

#include <cstdint>

#include "framework/device.h"

namespace flyball {

// What the framework asks of a device, one implementation a kind. Streams and events are opaque
// handles; null is a valid one. Calls other than synchronize() and copy_to_host() only enqueue.
// Throws Error with the device's own words.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  virtual void* create_stream() = 0;
  virtual void destroy_stream(void* stream) = 0;
  virtual void synchronize(void* stream) = 0;

  virtual void* create_event() = 0;
  virtual void destroy_event(void* event) = 0;
  virtual void record(void* event, void* stream) = 0;
  virtual void wait(void* stream,
                    void* event) = 0;  // later work of the stream starts after the event
  virtual bool ready(void* event) = 0;
  virtual void synchronize_event(void* event) = 0;

  virtual void* allocate(int64_t bytes) = 0;  // at least 64-byte aligned; null when out of memory
  virtual void free(void* data) = 0;
  virtual void fill_bytes(void* data, uint8_t value, int64_t bytes, void* stream) = 0;
  virtual void copy_to_device(void* to, const void* from, int64_t bytes,
                              void* stream) = 0;  // has read `from` on return
  virtual void copy_to_host(void* to, const void* from, int64_t bytes,
                            void* stream) = 0;  // and waits
};

DeviceRuntime& device_runtime(Device device);

#if FLYBALL_HAVE_CUDA
DeviceRuntime& cuda_runtime(int index);
int cuda_device_count();  // throws Error, in one line, where there is no usable device
#endif

}  // namespace flyball

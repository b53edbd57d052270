#pragma once

#include <cstdint>

#include "framework/device.h"

namespace flyball {

// What the framework asks of a device, one implementation a kind. Streams and events are opaque
// handles; null is a valid one. Calls other than synchronize() and copy_to_host() only enqueue or
// ask.
// Throws Error with the device's own words.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  virtual int compute_capability() = 0;  // of CUDA: 75 is 7.5; 0 on the CPU

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
  virtual int64_t free_bytes() = 0;             // of the device's memory
  virtual bool untouched_memory_is_free() = 0;  // an allocation costs what of it is written to

  // Host memory that the device copies from and to by itself, at any later time.
  virtual void* allocate_pinned(int64_t bytes) = 0;  // null when out of memory
  virtual void free_pinned(void* data) = 0;
  virtual void copy_pinned(void* to, const void* from, int64_t bytes, void* stream) = 0;

  // What is enqueued on the stream between the two calls becomes a graph, to be replayed as a
  // whole; nothing of it runs. Work that needs the host in between throws. The CPU has no graphs.
  virtual bool captures() const = 0;
  virtual void begin_capture(void* stream) = 0;
  virtual void* end_capture(void* stream) = 0;  // an executable graph
  virtual void abandon_capture(void* stream) = 0;
  virtual void launch_graph(void* graph, void* stream) = 0;
  virtual void destroy_graph(void* graph) = 0;
};

DeviceRuntime& device_runtime(Device device);

#if FLYBALL_HAVE_CUDA
DeviceRuntime& cuda_runtime(int index);
int cuda_device_count();  // throws Error, in one line, where there is no usable device
#endif

}  // namespace flyball

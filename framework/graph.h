#pragma once

#include <functional>

#include "framework/allocator.h"
#include "framework/stream.h"

namespace flyball {

// Work that was enqueued once and is replayed as a whole. It reads and writes the same memory every
// time; what changes between replays is in device memory. Only where the device can capture.
class Graph {
 public:
  static bool supported(Device device);

  // Captures what `work` enqueues on the stream; nothing of it runs. Its tensors come from `pool`,
  // which outlives the graph. Throws what `work` throws, and Error where it needs the host.
  Graph(const Stream& stream, const MemoryPool& pool, const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch() const;

 private:
  const Stream& stream_;
  void* executable_ = nullptr;
};

}  // namespace flyball

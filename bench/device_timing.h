#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "framework/graph.h"

// Times work on a CUDA device by events that the device records.
namespace flyball::bench {

struct DeviceFacts {
  std::string name;
  int compute_capability = 0;  // 80 is 8.0
  int64_t l2_bytes = 0;
  int processors = 0;
};
DeviceFacts facts_of(const Stream& stream);

// Two events of a stream; the host waits for the second.
class DeviceTimer {
 public:
  explicit DeviceTimer(const Stream& stream);
  ~DeviceTimer();
  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;

  // Seconds that the device takes for what `work` enqueues on the stream.
  double seconds(const std::function<void()>& work) const;

 private:
  const Stream& stream_;
  void *begin_ = nullptr, *end_ = nullptr;
};

// Launches captured in one graph: launch i enqueues enqueue(i % different). As many rounds of
// `different` launches as take about kReplaySeconds.
class TimedGraph {
 public:
  static constexpr double kReplaySeconds = 2e-3;
  static constexpr int kMostLaunches = 4096;

  TimedGraph(const Stream& stream, const std::function<void(int)>& enqueue, int different);
  // Seconds of one launch: of a replay, over its launches.
  double seconds() const;

 private:
  void capture(const std::function<void(int)>& enqueue, int different);

  const Stream& stream_;
  DeviceTimer timer_;
  MemoryPool pool_;  // outlives the graph
  std::unique_ptr<Graph> graph_;
  int launches_ = 0;
};

// The one of `count` alternatives that takes the device the least time, each replayed in a graph of
// its own; enqueue(i) says whether it is possible. Those that `wanted` refuses, and those that
// cannot be captured, are left out. -1: none.
int fastest_of(
    const Stream& stream, int count, const std::function<bool(int)>& enqueue,
    const std::function<bool(int)>& wanted = [](int) { return true; });

}  // namespace flyball::bench

#include "bench/device_timing.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace flyball::bench {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw Error(str("cuda: ", what, ": ", cudaGetErrorString(error)));
}

cudaStream_t handle_of(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle()); }

}  // namespace

DeviceFacts facts_of(const Stream& stream) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, stream.device().index), "device properties");
  return {.name = properties.name,
          .compute_capability = 10 * properties.major + properties.minor,
          .l2_bytes = properties.l2CacheSize,
          .processors = properties.multiProcessorCount};
}

DeviceTimer::DeviceTimer(const Stream& stream) : stream_(stream) {
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "create event");
  begin_ = begin;
  check(cudaEventCreate(&end), "create event");
  end_ = end;
}

DeviceTimer::~DeviceTimer() {
  for (void* event : {begin_, end_}) cudaEventDestroy(static_cast<cudaEvent_t>(event));
}

double DeviceTimer::seconds(const std::function<void()>& work) const {
  const auto begin = static_cast<cudaEvent_t>(begin_), end = static_cast<cudaEvent_t>(end_);
  check(cudaEventRecord(begin, handle_of(stream_)), "record event");
  work();
  check(cudaEventRecord(end, handle_of(stream_)), "record event");
  check(cudaEventSynchronize(end), "wait for event");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin, end), "elapsed time");
  return 1e-3 * static_cast<double>(milliseconds);
}

TimedGraph::TimedGraph(const Stream& stream, const std::function<void(int)>& enqueue, int different)
    : stream_(stream), timer_(stream), pool_(stream) {
  enqueue(0);  // loads kernels, which a capture may not
  launches_ = different;
  capture(enqueue, different);
  seconds();  // the first replay brings the graph to the device
  const double round = std::max(seconds() * different, 1e-9);
  const int rounds = std::min(static_cast<int>(std::ceil(kReplaySeconds / round)),
                              std::max(1, kMostLaunches / different));
  if (rounds > 1) {
    launches_ = rounds * different;
    capture(enqueue, different);
    seconds();
  }
}

void TimedGraph::capture(const std::function<void(int)>& enqueue, int different) {
  graph_ = std::make_unique<Graph>(stream_, pool_, [&] {
    for (int i = 0; i < launches_; ++i) enqueue(i % different);
  });
}

double TimedGraph::seconds() const {
  return timer_.seconds([this] { graph_->launch(); }) / launches_;
}

int fastest_of(const Stream& stream, int count, const std::function<bool(int)>& enqueue,
               const std::function<bool(int)>& wanted) {
  constexpr int kSamples = 3;
  int best = -1;
  double least = 0;
  for (int i = 0; i < count; ++i) {
    if (!wanted(i) || !enqueue(i)) continue;
    double seconds = 0;
    try {
      const TimedGraph graph(
          stream,
          [&](int) {
            if (!enqueue(i)) throw Error("cannot be captured");
          },
          1);
      seconds = graph.seconds();
      for (int more = 1; more < kSamples; ++more) seconds = std::min(seconds, graph.seconds());
    } catch (const Error&) {
      cudaGetLastError();  // or the next launch would report it as its own
      continue;
    }
    if (best >= 0 && seconds >= least) continue;
    best = i;
    least = seconds;
  }
  return best;
}

}  // namespace flyball::bench

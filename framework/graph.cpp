#include "framework/graph.h"

#include "framework/device_runtime.h"

namespace flyball {

bool Graph::supported(Device device) { return device_runtime(device).captures(); }

Graph::Graph(const Stream& stream, const MemoryPool& pool, const std::function<void()>& work)
    : stream_(stream) {
  DeviceRuntime& runtime = device_runtime(stream.device());
  pool.begin_use();
  try {
    runtime.begin_capture(stream.handle());
    try {
      work();
    } catch (...) {
      runtime.abandon_capture(stream.handle());
      throw;
    }
    executable_ = runtime.end_capture(stream.handle());
  } catch (...) {
    pool.end_use();
    throw;
  }
  pool.end_use();
}

Graph::~Graph() { device_runtime(stream_.device()).destroy_graph(executable_); }

void Graph::launch() const {
  device_runtime(stream_.device()).launch_graph(executable_, stream_.handle());
}

}  // namespace flyball

#include "tests/simulated_gpu/runtime/capture.h"

#include <algorithm>

namespace flyball::simulated_gpu::runtime {
namespace {

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

unsigned long long captures_begun = 0;

std::set<Capture*> active() {
  std::set<Capture*> found;
  for (const CUstream_st* stream : Streams::get().all())
    if (stream->capture) found.insert(stream->capture.get());
  return found;
}

void invalidate_and_refuse(const std::set<Capture*>& captures, cudaError_t error) {
  for (Capture* capture : captures) invalidate(*capture);
  require(captures.empty(), error);
}

void begin(cudaStream_t handle, cudaStreamCaptureMode mode, CUgraph_st* graph,
           std::vector<cudaGraphNode_t> tail) {
  CUstream_st& stream = Streams::get().find(handle);
  require(!Streams::get().is_legacy(stream), cudaErrorStreamCaptureUnsupported);
  require(!stream.capture, cudaErrorIllegalState);
  auto capture = std::make_shared<Capture>();
  capture->id = ++captures_begun;
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->origin = &stream;
  capture->owns_graph = !graph;
  capture->graph = graph ? graph : keep_graph(create_graph());
  stream.capture = std::move(capture);
  stream.capture_tail = std::move(tail);
}

// Every stream that joined must have been joined back: its last nodes are ancestors of the
// origin's.
bool all_joined(const Capture& capture) {
  const std::set<cudaGraphNode_t> reached = ancestors(capture.origin->capture_tail);
  for (const CUstream_st* stream : Streams::get().all()) {
    if (stream->capture.get() != &capture) continue;
    for (const cudaGraphNode_t node : stream->capture_tail)
      if (!reached.contains(node)) return false;
  }
  return true;
}

void end(cudaStream_t handle, cudaGraph_t* graph) {
  if (graph) *graph = nullptr;
  CUstream_st& stream = Streams::get().find(handle);
  require(stream.capture != nullptr, cudaErrorIllegalState);
  const std::shared_ptr<Capture> capture = stream.capture;
  if (capture->origin != &stream) {
    invalidate(*capture);
    throw Failure{cudaErrorStreamCaptureUnmatched};
  }
  require(capture->mode == cudaStreamCaptureModeRelaxed ||
              capture->thread == std::this_thread::get_id(),
          cudaErrorStreamCaptureWrongThread);
  const bool joined = all_joined(*capture);
  for (CUstream_st* member : Streams::get().all())
    if (member->capture == capture) leave_capture(*member);
  require(!capture->invalid, cudaErrorStreamCaptureInvalidated);
  require(joined, cudaErrorStreamCaptureUnjoined);
  require(graph, cudaErrorInvalidValue);
  capture->owns_graph = false;
  *graph = capture->graph;
}

cudaStreamCaptureStatus status_of(const CUstream_st& stream) {
  if (!stream.capture) return cudaStreamCaptureStatusNone;
  return stream.capture->invalid ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
}

}  // namespace

Capture::~Capture() {
  if (owns_graph) drop_graph(graph);
}

void invalidate(Capture& capture) { capture.invalid = true; }

void leave_capture(CUstream_st& stream) {
  stream.capture = nullptr;
  stream.capture_tail.clear();
}

void add_captured_node(CUstream_st& stream, Work work) {
  require(!stream.capture->invalid, cudaErrorStreamCaptureInvalidated);
  stream.capture_tail = {add_node(*stream.capture->graph, std::move(work), stream.capture_tail)};
}

void join_capture(CUstream_st& stream, CUevent_st& event) {
  require(!event.capture->invalid, cudaErrorStreamCaptureInvalidated);
  const bool running = event.capture->origin->capture == event.capture;
  require(running, cudaErrorCapturedEvent);
  if (!stream.capture) {
    require(!Streams::get().is_legacy(stream), cudaErrorStreamCaptureUnsupported);
    stream.capture = event.capture;
    stream.capture_tail = event.capture_nodes;
    return;
  }
  if (stream.capture != event.capture) {
    invalidate(*stream.capture);
    invalidate(*event.capture);
    throw Failure{cudaErrorStreamCaptureMerge};
  }
  for (const cudaGraphNode_t node : event.capture_nodes)
    if (std::find(stream.capture_tail.begin(), stream.capture_tail.end(), node) ==
        stream.capture_tail.end())
      stream.capture_tail.push_back(node);
}

void refuse_legacy_stream_in_capture() {
  std::set<Capture*> disturbed;
  for (const CUstream_st* stream : Streams::get().all())
    if (stream->capture && stream->blocking()) disturbed.insert(stream->capture.get());
  invalidate_and_refuse(disturbed, cudaErrorStreamCaptureImplicit);
}

void refuse_device_wait_in_capture() {
  invalidate_and_refuse(active(), cudaErrorStreamCaptureUnsupported);
}

void refuse_unsafe_call_in_capture() {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return;
  std::set<Capture*> disturbed;
  for (Capture* capture : active()) {
    const bool own = capture->thread == std::this_thread::get_id();
    if (own ? capture->mode != cudaStreamCaptureModeRelaxed
            : capture->mode == cudaStreamCaptureModeGlobal &&
                  thread_mode == cudaStreamCaptureModeGlobal)
      disturbed.insert(capture);
  }
  invalidate_and_refuse(disturbed, cudaErrorStreamCaptureUnsupported);
}

}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call([&] { begin(stream, mode, nullptr, {}); });
}
cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph,
                                          const cudaGraphNode_t* dependencies,
                                          const cudaGraphEdgeData*, size_t count,
                                          cudaStreamCaptureMode mode) {
  return call([&] {
    begin(stream, mode, &check_graph(graph), {dependencies, dependencies + count});
  });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call([&] { end(stream, graph); });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call([&] { *status = status_of(Streams::get().find(stream)); });
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, size_t* count) {
  return call([&] {
    const CUstream_st& stream = Streams::get().find(handle);
    *status = status_of(stream);
    if (*status != cudaStreamCaptureStatusActive) return;
    if (id) *id = stream.capture->id;
    if (graph) *graph = stream.capture->graph;
    if (dependencies) *dependencies = stream.capture_tail.data();
    if (edges) *edges = nullptr;
    if (count) *count = stream.capture_tail.size();
  });
}
cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t handle, cudaGraphNode_t* nodes,
                                                const cudaGraphEdgeData*, size_t count,
                                                unsigned flags) {
  return call([&] {
    CUstream_st& stream = Streams::get().find(handle);
    require(stream.capture != nullptr, cudaErrorIllegalState);
    require(!stream.capture->invalid, cudaErrorStreamCaptureInvalidated);
    for (size_t i = 0; i < count; ++i)
      require(check_node(nodes[i]).graph == stream.capture->graph, cudaErrorInvalidValue);
    if (flags == cudaStreamSetCaptureDependencies) stream.capture_tail.clear();
    stream.capture_tail.insert(stream.capture_tail.end(), nodes, nodes + count);
  });
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call([&] { std::swap(*mode, thread_mode); });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

#pragma once

#include <thread>

#include "tests/simulated_gpu/runtime/graph.h"
#include "tests/simulated_gpu/runtime/streams.h"

namespace flyball::simulated_gpu::runtime {

// One capture sequence: from cudaStreamBeginCapture to cudaStreamEndCapture, over all streams that
// joined it.
struct Capture {
  Capture() = default;
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  unsigned long long id = 0;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  CUstream_st* origin = nullptr;
  cudaGraph_t graph = nullptr;
  bool owns_graph = false;  // made here and not yet handed to the caller
  bool invalid = false;
};

void invalidate(Capture& capture);
void leave_capture(CUstream_st& stream);  // a stream that is destroyed
void add_captured_node(CUstream_st& stream, Work work);
// A stream waits for an event that was recorded in a capture: it joins the capture, or gains the
// event's nodes as dependencies.
void join_capture(CUstream_st& stream, CUevent_st& event);

// Calls that a capture in progress forbids; each invalidates the captures it disturbs and throws
// Failure.
void refuse_legacy_stream_in_capture();  // cudaErrorStreamCaptureImplicit: some blocking stream
                                         // captures
void refuse_device_wait_in_capture();    // any stream captures
// Calls that may wait for the device (cudaMalloc, cudaFree, cudaEventQuery, ...), by the capture's
// and the thread's mode.
void refuse_unsafe_call_in_capture();

}  // namespace flyball::simulated_gpu::runtime

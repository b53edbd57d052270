#include <algorithm>

#include "tests/simulated_gpu/runtime/capture.h"
#include "tests/simulated_gpu/runtime/graph.h"
#include "tests/simulated_gpu/runtime/streams.h"

namespace flyball::simulated_gpu::runtime {
namespace {

constexpr int kGreatestPriority = -5, kLeastPriority = 0;

// Waiting for a stream, or asking about it, while it captures breaks the capture.
CUstream_st& outside_capture(cudaStream_t handle) {
  CUstream_st& stream = Streams::get().find(handle);
  if (stream.capture) {
    invalidate(*stream.capture);
    throw Failure{cudaErrorStreamCaptureUnsupported};
  }
  if (Streams::get().is_legacy(stream)) refuse_legacy_stream_in_capture();
  return stream;
}

// The event's own state; throws for one that was last recorded in a capture.
CUevent_st& outside_capture_event(cudaEvent_t event) {
  Streams::get().check(event);
  require(!event->capture, cudaErrorCapturedEvent);
  return *event;
}

void record(cudaEvent_t event, cudaStream_t handle) {
  Streams& streams = Streams::get();
  streams.check(event);
  CUstream_st& stream = streams.find(handle);
  if (stream.capture) {
    require(!stream.capture->invalid, cudaErrorStreamCaptureInvalidated);
    event->capture = stream.capture;
    event->capture_nodes = stream.capture_tail;
    event->recorded = false;
    return;
  }
  if (streams.is_legacy(stream)) refuse_legacy_stream_in_capture();
  event->capture = nullptr;
  event->capture_nodes.clear();
  event->clock = streams.start_of(stream);
  event->time = std::chrono::steady_clock::now();
  event->recorded = true;
  event->unready_answers = static_cast<int>(environment_bytes("SIMULATED_GPU_NOT_READY", 0));
}

void wait(cudaStream_t handle, cudaEvent_t event) {
  Streams& streams = Streams::get();
  streams.check(event);
  CUstream_st& stream = streams.find(handle);
  if (event->capture) {
    join_capture(stream, *event);
    return;
  }
  if (stream.capture) {
    if (!event->recorded) return;
    invalidate(*stream.capture);
    throw Failure{cudaErrorStreamCaptureIsolation};
  }
  if (streams.is_legacy(stream)) refuse_legacy_stream_in_capture();
  stream.clock.join(event->clock);
}

}  // namespace
}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

// Calls so far in which the host waited for the device: synchronisations of a stream, an event or
// the device, blocking copies and memory functions that wait (cudaFree, cudaFreeHost).
unsigned long long simulated_gpu_host_synchronizations() {
  const std::lock_guard lock(runtime_mutex());
  return Streams::get().host_synchronizations();
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return call([&] {
    require(stream && (flags & ~cudaStreamNonBlocking) == 0, cudaErrorInvalidValue);
    *stream = Streams::get().create(flags, std::clamp(priority, kGreatestPriority, kLeastPriority));
  });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&] { Streams::get().destroy(stream); });
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call([&] {
    if (least) *least = kLeastPriority;
    if (greatest) *greatest = kGreatestPriority;
  });
}
cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return call([&] { *priority = Streams::get().find(stream).priority; });
}
cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return call([&] { *flags = Streams::get().find(stream).flags; });
}
cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  return call([&] { *id = Streams::get().find(stream).id; });
}
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  return call([&] {
    Streams::get().find(stream);
    *device = 0;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call([&] {
    Streams& streams = Streams::get();
    streams.host_after(streams.start_of(outside_capture(handle)), true);
  });
}
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call([&] {
    Streams& streams = Streams::get();
    streams.host_after(streams.start_of(outside_capture(handle)), false);
  });
}
cudaError_t cudaDeviceSynchronize() {
  return call([&] {
    refuse_device_wait_in_capture();
    Streams::get().host_after(Streams::get().everything(), true);
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  if (flags & cudaEventWaitExternal)
    return not_covered("cudaStreamWaitEvent with cudaEventWaitExternal");
  return call([&] { wait(stream, event); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&] {
    require(event, cudaErrorInvalidValue);
    *event = Streams::get().create_event(flags);
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&] { Streams::get().destroy(event); });
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  if (flags & cudaEventRecordExternal)
    return not_covered("cudaEventRecordWithFlags with cudaEventRecordExternal");
  return call([&] { record(event, stream); });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&] {
    const CUevent_st& known = outside_capture_event(event);
    refuse_unsafe_call_in_capture();
    Streams::get().host_after(known.clock, true);
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&] {
    CUevent_st& known = outside_capture_event(event);
    refuse_unsafe_call_in_capture();
    if (known.unready_answers > 0 && !Streams::get().host().covers(known.clock)) {
      --known.unready_answers;
      return cudaErrorNotReady;
    }
    Streams::get().host_after(known.clock, false);
    return cudaSuccess;
  });
}
// Wall time of the host between the two records: the simulation has no clock of its own.
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return call([&] {
    const CUevent_st &first = outside_capture_event(start), &last = outside_capture_event(end);
    require(
        first.recorded && last.recorded && !((first.flags | last.flags) & cudaEventDisableTiming),
        cudaErrorInvalidResourceHandle);
    *ms = std::chrono::duration<float, std::milli>(last.time - first.time).count();
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return call([&] {
    require(function, cudaErrorInvalidValue);
    Streams::get().submit(stream, HostWork{function, data});
  });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

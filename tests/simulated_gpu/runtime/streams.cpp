#include "tests/simulated_gpu/runtime/streams.h"

#include "tests/simulated_gpu/runtime/capture.h"
#include "tests/simulated_gpu/runtime/graph.h"
#include "tests/simulated_gpu/runtime/host_guard.h"

namespace flyball::simulated_gpu::runtime {

Streams& Streams::get() {
  static auto* streams = new Streams;
  return *streams;
}

Streams::Streams() : legacy_(create(cudaStreamDefault, 0)) {}

CUstream_st* Streams::create(unsigned flags, int priority) {
  auto* stream = new CUstream_st;
  stream->id = created_++;
  stream->slot = Ordering::get().new_slot();
  stream->flags = flags;
  stream->priority = priority;
  streams_.insert(stream);
  return stream;
}

void Streams::destroy(CUstream_st* stream) {
  require(streams_.contains(stream) && stream != legacy_, cudaErrorInvalidResourceHandle);
  if (stream->capture) invalidate(*stream->capture);
  // Its work goes on: the device's synchronisation waits for it, and the legacy stream.
  retired_.join(stream->clock);
  if (stream->blocking()) legacy_->clock.join(stream->clock);
  leave_capture(*stream);
  streams_.erase(stream);
  delete stream;
}

CUevent_st* Streams::create_event(unsigned flags) {
  auto* event = new CUevent_st;
  event->flags = flags;
  events_.insert(event);
  return event;
}

void Streams::destroy(CUevent_st* event) {
  check(event);
  events_.erase(event);
  delete event;
}

void Streams::check(cudaEvent_t event) const {
  require(events_.contains(event), cudaErrorInvalidResourceHandle);
}

CUstream_st& Streams::find(cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return *legacy_;
  if (handle == cudaStreamPerThread) {
    static thread_local CUstream_st* own = nullptr;
    if (!own) {
      own = create(cudaStreamDefault, 0);
      ++implicit_;
    }
    return *own;
  }
  require(streams_.contains(handle), cudaErrorInvalidResourceHandle);
  return *handle;
}

Clock Streams::start_of(const CUstream_st& stream) const {
  Clock clock = stream.clock;
  clock.join(host_);
  if (&stream == legacy_) {
    for (const CUstream_st* other : streams_)
      if (other->blocking()) clock.join(other->clock);
  } else if (stream.blocking()) {
    clock.join(legacy_->clock);
  }
  return clock;
}

void Streams::submit(cudaStream_t handle, Work work, bool host_waits) {
  CUstream_st& stream = find(handle);
  if (stream.capture) {
    add_captured_node(stream, std::move(work));
    return;
  }
  if (&stream == legacy_) refuse_legacy_stream_in_capture();
  auto site = std::make_shared<Site>(Site{describe(work), name_of(stream), CallSite::here()});
  Clock clock = start_of(stream);
  const Stamp stamp = Ordering::get().next(stream.slot);
  perform(work, clock, stamp, site, host_waits);
  clock.set(stamp);
  stream.clock = clock;
  if (host_waits) host_after(clock, true);
}

void Streams::host_after(const Clock& clock, bool counted) {
  host_.join(clock);
  if (counted) ++host_synchronizations_;
  HostGuard::get().settle(host_);
}

Clock Streams::everything() const {
  Clock clock = host_;
  clock.join(retired_);
  for (const CUstream_st* stream : streams_) clock.join(stream->clock);
  return clock;
}

std::string Streams::leaks() const {
  std::string text;
  if (streams_.size() > implicit_)
    text += "    " + std::to_string(streams_.size() - implicit_) + " streams\n";
  if (!events_.empty()) text += "    " + std::to_string(events_.size()) + " events\n";
  return text;
}

std::string name_of(const CUstream_st& stream) {
  if (Streams::get().is_legacy(stream)) return "the legacy default stream";
  return "stream " + std::to_string(stream.id) + (stream.blocking() ? "" : " (non-blocking)");
}

}  // namespace flyball::simulated_gpu::runtime

#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <vector>

#include "tests/simulated_gpu/runtime/work.h"

namespace flyball::simulated_gpu::runtime {
struct Capture;
}

struct CUstream_st {
  unsigned id = 0;
  size_t slot = 0;
  unsigned flags = 0;
  int priority = 0;
  flyball::simulated_gpu::runtime::Clock clock;  // after all work issued so far
  std::shared_ptr<flyball::simulated_gpu::runtime::Capture> capture;
  std::vector<cudaGraphNode_t> capture_tail;  // what the next captured node depends on
  bool blocking() const { return !(flags & cudaStreamNonBlocking); }
};

struct CUevent_st {
  unsigned flags = 0;
  bool recorded = false;
  int unready_answers = 0;  // queries to answer with cudaErrorNotReady
  flyball::simulated_gpu::runtime::Clock clock;
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<flyball::simulated_gpu::runtime::Capture>
      capture;  // of the stream it was last recorded in
  std::vector<cudaGraphNode_t> capture_nodes;
};

namespace flyball::simulated_gpu::runtime {

// Work runs when it is issued, in issue order; what a stream guarantees is kept as clocks and
// checked, not acted out.
class Streams {
 public:
  static Streams& get();
  CUstream_st* create(unsigned flags, int priority);
  void destroy(CUstream_st* stream);
  CUevent_st* create_event(unsigned flags);
  void destroy(CUevent_st* event);
  void check(cudaEvent_t event) const;  // throws Failure(cudaErrorInvalidResourceHandle)

  // Stream of a handle: null and cudaStreamLegacy the legacy default stream, cudaStreamPerThread
  // the calling thread's own.
  CUstream_st& find(cudaStream_t handle);
  bool is_legacy(const CUstream_st& stream) const { return &stream == legacy_; }

  // What the next work of a stream starts after: its own work, the host's knowledge, and the legacy
  // stream's rule, by which it and the blocking streams wait for each other.
  Clock start_of(const CUstream_st& stream) const;
  // Runs work on a stream, or adds it to the graph that the stream captures.
  void submit(cudaStream_t handle, Work work, bool host_waits = false);

  // The host is ordered after this. counted: it blocked, which is a host synchronisation.
  void host_after(const Clock& clock, bool counted);
  Clock everything() const;
  const Clock& host() const { return host_; }
  uint64_t host_synchronizations() const { return host_synchronizations_; }
  const std::set<CUstream_st*>& all() const { return streams_; }
  std::string leaks() const;

 private:
  Streams();
  std::set<CUstream_st*> streams_;
  std::set<CUevent_st*> events_;
  Clock host_;
  Clock retired_;  // work of destroyed streams
  uint64_t host_synchronizations_ = 0;
  unsigned created_ = 0, implicit_ = 1;  // implicit: the legacy stream and those of threads
  CUstream_st* legacy_;
};

std::string name_of(const CUstream_st& stream);

}  // namespace flyball::simulated_gpu::runtime

#pragma once

#include <cstdint>

#include "kernels/adam.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

// The parameter arena as the optimizers' kernels walk it.
namespace flyball::cuda {

// At most kAdamChunk elements of one segment.
struct Chunk {
  int64_t begin = 0, end = 0;
  bool decay = false;
};

// Finds chunks by ascending index; every warp searches for itself, a segment for each lane.
class ChunkWalker {
 public:
  __device__ ChunkWalker(const ParameterSegment* segments, int64_t count)
      : segments_(segments), count_(count) {}

  // Chunk `index`; false where there are no more, and passed() is then the number of all chunks.
  __device__ bool find(int64_t index, Chunk& chunk) {
    const int lane = threadIdx.x % 32;
    for (; first_ < count_; first_ += 32) {
      const ParameterSegment segment =
          first_ + lane < count_ ? segments_[first_ + lane] : ParameterSegment{};
      const int64_t chunks = (segment.end - segment.begin + kAdamChunk - 1) / kAdamChunk;
      int64_t through = chunks;  // of the segments up to this lane's
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const int64_t before = __shfl_up_sync(kAllLanes, through, offset);
        if (lane >= offset) through += before;
      }
      through += passed_;
      const unsigned owners = __ballot_sync(kAllLanes, index < through);
      if (owners != 0) {
        const int owner = __ffs(static_cast<int>(owners)) - 1;
        const int64_t begin = segment.begin + (index - (through - chunks)) * kAdamChunk;
        chunk.begin = __shfl_sync(kAllLanes, begin, owner);
        chunk.end = min(chunk.begin + kAdamChunk, __shfl_sync(kAllLanes, segment.end, owner));
        chunk.decay = __shfl_sync(kAllLanes, static_cast<int>(segment.decay != 0), owner) != 0;
        return true;
      }
      passed_ = __shfl_sync(kAllLanes, through, 31);
    }
    return false;
  }

  __device__ int64_t passed() const { return passed_; }

 private:
  const ParameterSegment* segments_;
  int64_t count_;
  int64_t first_ = 0;   // segment of lane 0
  int64_t passed_ = 0;  // chunks of the segments before it
};

// Blocks that fill the current device, each of which takes every so-many-th chunk: the segments are
// in device memory, so the host need not know how many chunks there are.
inline unsigned arena_blocks() {
  constexpr int kBlocksPerMultiprocessor = 2;
  const auto where = std::source_location::current();
  int device = 0, multiprocessors = 0;
  check(cudaGetDevice(&device), "arena_blocks", where);
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "arena_blocks", where);
  return static_cast<unsigned>(kBlocksPerMultiprocessor * multiprocessors);
}

}  // namespace flyball::cuda

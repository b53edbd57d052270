#pragma once

#include "kernels/cuda/chunks.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

// The sums <g, u>, |g|^2 and |u|^2 that optimizers take of every chunk of the arena, in the CPU's
// order (kernels/cpu/lanes.h).
namespace flyball::cuda {

// A chunk is 64 lane blocks of 256 elements; element i of one belongs to lane i % 16. A thread
// takes four neighbouring lanes of one lane block: 16 vectors, 16 elements apart, which it adds up
// in order, in registers.
inline constexpr int kArenaThreads = 256;
inline constexpr int kLanes = 16;
inline constexpr int kLaneBlock = 256;
inline constexpr int kLaneBlocks = kAdamChunk / kLaneBlock;
inline constexpr int kVectors = kLaneBlock / kLanes;
inline constexpr int kKinds = 3;                                   // <g, u>, |g|^2, |u|^2
inline constexpr int kKindStride = kLaneBlocks * kLanes + kLanes;  // two kinds in different banks
static_assert(kArenaThreads * kVectors * 4 == kAdamChunk);

// The first vector of this thread in a chunk; the k-th is k * kLanes further.
__device__ inline int first_element() { return threadIdx.x / 4 * kLaneBlock + threadIdx.x % 4 * 4; }

// The chunk's partial sums: the lane blocks of each lane in order, then the lanes by halves, in
// f64. sums[kind][j]: of the thread's j-th lane.
template <class T>
__device__ void put_partial_sums(const T (&sums)[kKinds][4], double* partial) {
  alignas(16) __shared__ T of_lanes[kKinds * kKindStride];
#pragma unroll
  for (int kind = 0; kind < kKinds; ++kind) {
    const Four<T> four = {sums[kind][0], sums[kind][1], sums[kind][2], sums[kind][3]};
    *reinterpret_cast<Four<T>*>(of_lanes + kind * kKindStride + 4 * threadIdx.x) = four;
  }
  __syncthreads();         // the sums of all lane blocks are there
  if (threadIdx.x < 64) {  // two whole warps; the last 16 threads only take part in the shuffles
    const int kind = threadIdx.x / kLanes;
    const T* lane = of_lanes + min(kind, kKinds - 1) * kKindStride + threadIdx.x % kLanes;
    double total = 0;
#pragma unroll 8
    for (int block = 0; block < kLaneBlocks; ++block) {
      total += static_cast<double>(lane[block * kLanes]);
    }
    total = lane_sum(total, kLanes);
    if (kind < kKinds && threadIdx.x % kLanes == 0) partial[kind] = total;
  }
  __syncthreads();  // of_lanes may be written by the next chunk
}

// The partial sums of all chunks, added in the order of the chunks; in threads [0, kKinds) of
// kArenaThreads.
__device__ inline double total_sum(const double* partial_sums, int64_t chunks) {
  __shared__ double tile[kKinds * kArenaThreads];
  double total = 0;
  for (int64_t first = 0; first < kKinds * chunks; first += kKinds * kArenaThreads) {
    const int count =
        static_cast<int>(min(kKinds * chunks - first, int64_t{kKinds * kArenaThreads}));
    for (int i = threadIdx.x; i < count; i += kArenaThreads) {
      tile[i] = __ldcg(partial_sums + first + i);
    }
    __syncthreads();  // the tile is complete
    if (threadIdx.x < kKinds) {
#pragma unroll 8
      for (int i = threadIdx.x; i < count; i += kKinds) total += tile[i];
    }
    __syncthreads();  // the tile may be written again
  }
  return total;
}

// totals[kKinds], in shared memory: the sums of all chunks, or zeros where they do not count.
__device__ inline void put_totals(const double* partial_sums, int64_t chunks, bool counts,
                                  double* totals) {
  const double total = counts ? total_sum(partial_sums, chunks) : 0;
  if (threadIdx.x < kKinds) totals[threadIdx.x] = total;
  __syncthreads();  // the totals are complete
}

}  // namespace flyball::cuda

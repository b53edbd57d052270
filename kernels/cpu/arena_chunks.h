#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/adam.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"

// The parameter arena as the optimizers walk it, and the sums that they take on the way.
namespace flyball::cpu {

// At most kAdamChunk elements of one segment.
struct Chunk {
  int64_t begin = 0, end = 0;
  bool decay = false;
};

// The chunks of the arena, until the calling thread cuts the next one.
inline std::span<const Chunk> cut(const ParameterSegment* segments, int64_t segment_count) {
  const int64_t count = adam_chunks(segments, segment_count);
  Chunk* chunks = scratch<Chunk, Chunk>(count);
  int64_t i = 0;
  for (int64_t s = 0; s < segment_count; ++s) {
    const ParameterSegment& segment = segments[s];
    for (int64_t begin = segment.begin; begin < segment.end; begin += kAdamChunk) {
      chunks[i++] = {begin, std::min(begin + kAdamChunk, segment.end), segment.decay != 0};
    }
  }
  return {chunks, static_cast<size_t>(count)};
}

// Calls body(i) for every chunk, on this thread alone where the whole arena is small.
template <class Body>
void for_each_chunk(std::span<const Chunk> chunks, Body&& body) {
  int64_t elements = 0;
  for (const Chunk& chunk : chunks) elements += chunk.end - chunk.begin;
  const int64_t count = static_cast<int64_t>(chunks.size());
  if (elements > kPieceElements) {
    parallel_for(count, [&](int64_t i) { body(i); });
  } else {
    for (int64_t i = 0; i < count; ++i) body(i);
  }
}

template <class T>
void copy_chunk(const T* from, T* to, const Chunk& chunk) {
  std::copy(from + chunk.begin, from + chunk.end, to + chunk.begin);
}

// <g, u>, |g|^2 and |u|^2.
struct GradientSums {
  double gu = 0, gg = 0, uu = 0;
};

// The three sums of a chunk, by lanes: lane blocks in T, then f64.
template <class T>
struct LaneProducts {
  double gu[kLanes] = {}, gg[kLanes] = {}, uu[kLanes] = {};

  // Adds a lane block of which the first `count` elements are there.
  FLYBALL_INLINE void add(T* g_block, T* u_block, int64_t count) {
    for (int64_t i = count; i < kLaneBlock; ++i) g_block[i] = u_block[i] = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      T gu_sum = 0, gg_sum = 0, uu_sum = 0;
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLaneBlock; i += kLanes) {
        const T g = g_block[i + lane];
        const T u = u_block[i + lane];
        gu_sum += g * u;
        gg_sum += g * g;
        uu_sum += u * u;
      }
      gu[lane] += static_cast<double>(gu_sum);
      gg[lane] += static_cast<double>(gg_sum);
      uu[lane] += static_cast<double>(uu_sum);
    }
  }
  FLYBALL_INLINE GradientSums sums() const {
    return {sum_of_lanes(gu), sum_of_lanes(gg), sum_of_lanes(uu)};
  }
};

// The sums of chunk i are partial_sums[3 i .. 3 i + 2].
inline void put_partial_sums(const GradientSums& sums, int64_t i, double* partial_sums) {
  partial_sums[3 * i] = sums.gu;
  partial_sums[3 * i + 1] = sums.gg;
  partial_sums[3 * i + 2] = sums.uu;
}

// Added in the order of the chunks.
inline GradientSums total_of(const double* partial_sums, int64_t chunks) {
  GradientSums total;
  for (int64_t i = 0; i < chunks; ++i) {
    total.gu += partial_sums[3 * i];
    total.gg += partial_sums[3 * i + 1];
    total.uu += partial_sums[3 * i + 2];
  }
  return total;
}

inline void set_sums(StepSignals& signals, const GradientSums& sums) {
  signals.gradient_dot_update = sums.gu;
  signals.gradient_norm_squared = sums.gg;
  signals.update_norm_squared = sums.uu;
}

}  // namespace flyball::cpu

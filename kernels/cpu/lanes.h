#pragma once

#include <cstdint>

#include "kernels/cpu/simd.h"

namespace flyball::cpu {

// Sums in an order that does not depend on the instruction set: element i is added to lane i % 16,
// and the lanes are added up at the end. A block is worked on lane by lane, with the loop over its
// elements unrolled, so that the loop over lanes vectorises and its sums stay in registers.
inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kLaneBlock = 256;

// lanes[i] += x[i] + x[i + 16] + ... + x[i + 240], in f64
template <class T>
FLYBALL_INLINE void add_block(const T* x, double* lanes) {
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    double sum = 0;
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLaneBlock; i += kLanes) sum += static_cast<double>(x[i + lane]);
    lanes[lane] += sum;
  }
}

// Halves are added until one value is left.
FLYBALL_INLINE double sum_of_lanes(const double* lanes) {
  double sums[kLanes / 2];
  for (int64_t i = 0; i < kLanes / 2; ++i) sums[i] = lanes[i] + lanes[i + kLanes / 2];
  for (int64_t width = kLanes / 4; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

// The sum of x[0 .. count - 1] in f64.
template <class T>
FLYBALL_INLINE double sum_in_lanes(const T* x, int64_t count) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLaneBlock <= count; i += kLaneBlock) add_block(x + i, lanes);
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(x[i + lane]);
  }
  for (int64_t lane = 0; i + lane < count; ++lane) lanes[lane] += static_cast<double>(x[i + lane]);
  return sum_of_lanes(lanes);
}

}  // namespace flyball::cpu

#pragma once

#include <cstdint>

namespace flyball::cuda {

// Of sequence b, within [0, time]; lengths may be null.
__device__ inline int64_t sequence_length(const int32_t* lengths, int64_t b, int64_t time) {
  if (lengths == nullptr) return time;
  const int64_t length = lengths[b];
  return length < 0 ? 0 : length < time ? length : time;
}

}  // namespace flyball::cuda

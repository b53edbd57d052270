#pragma once

#include <cstdint>

#include "kernels/philox.h"

namespace flyball {

// Position i of a pseudo-random permutation of 0 .. count-1, from counters alone: no table, no
// state, any position at once, the same on every device. A balanced Feistel network of six rounds
// with Philox as its round function (Luby & Rackoff 1988) over the smallest even number of bits
// that holds count, walked until the value is inside the range. `epoch` and `stream` select one
// permutation of the seed. count <= 2^62.
FLYBALL_HOST_DEVICE inline int64_t permuted(int64_t i, int64_t count, uint64_t seed, uint32_t epoch,
                                            uint32_t stream) {
  int half_bits = 1;
  while ((int64_t{1} << (2 * half_bits)) < count) ++half_bits;
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t value = static_cast<uint64_t>(i);
  do {
    uint64_t left = value >> half_bits;
    uint64_t right = value & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const PhiloxWords words = philox({{static_cast<uint32_t>(right), round, epoch, stream}},
                                       seed ^ uint64_t{0x9E3779B97F4A7C15U});
      const uint64_t next = left ^ (words.word[0] & mask);
      left = right;
      right = next;
    }
    value = (left << half_bits) | right;
  } while (value >= static_cast<uint64_t>(count));
  return static_cast<int64_t>(value);
}

}  // namespace flyball

#pragma once

#include <cstdint>

#include "schedulers/rules/host_device.h"

namespace flyball {

struct PhiloxWords {
  uint32_t word[4];
};

// Philox4x32-10: four random 32-bit words from a 128-bit counter and a 64-bit key, no state.
// Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11.
FLYBALL_HOST_DEVICE inline PhiloxWords philox(PhiloxWords counter, uint64_t key) {
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53U} * counter.word[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57U} * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

// The four words that belong to (index, step, stream) under a seed; `stream` keeps users of one
// seed apart.
FLYBALL_HOST_DEVICE inline PhiloxWords philox_at(uint64_t index, uint32_t step, uint32_t stream,
                                                 uint64_t seed) {
  return philox({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), step, stream}},
                seed);
}

// Uniform in [0, 1): 24 bits, exact in float.
FLYBALL_HOST_DEVICE inline float uniform_float(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24F;
}

// Uniform in (0, 1): 32 bits, never 0, so that its logarithm is finite.
FLYBALL_HOST_DEVICE inline double uniform_open(uint32_t word) {
  return (static_cast<double>(word) + 0.5) * 0x1p-32;
}

}  // namespace flyball

#include "kernels/dropout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/simd.h"
#include "kernels/elementwise.h"
#include "kernels/philox.h"

namespace flyball::cpu {
namespace {

constexpr int kCounters = 16;          // Philox counters worked on side by side
constexpr int kBlock = 4 * kCounters;  // elements they decide

// An element is kept where its word is above `last_dropped`; the kept ones are scaled.
template <class T>
struct Rule {
  uint32_t last_dropped = 0;
  T scale = 1;
};

// words[4 * i + j] = word j of philox_at(first + i, step, layer, seed). The words are kept in
// 64-bit variables whose upper halves are junk, so that a product is split by a shift.
FLYBALL_INLINE void philox_block(uint64_t first, uint32_t step, uint32_t layer, uint64_t seed,
                                 uint32_t* words) {
  constexpr uint64_t kLow = 0xFFFFFFFFU;
  uint64_t pairs[2 * kCounters];
  for (int i = 0; i < kCounters; ++i) {
    const uint64_t index = first + static_cast<uint64_t>(i);
    uint64_t c0 = index;
    uint64_t c1 = index >> 32;
    uint64_t c2 = step;
    uint64_t c3 = layer;
    uint32_t key0 = static_cast<uint32_t>(seed);
    uint32_t key1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const uint64_t product0 = uint64_t{0xD2511F53U} * (c0 & kLow);
      const uint64_t product1 = uint64_t{0xCD9E8D57U} * (c2 & kLow);
      c0 = (product1 >> 32) ^ c1 ^ key0;
      c1 = product1;
      c2 = (product0 >> 32) ^ c3 ^ key1;
      c3 = product0;
      key0 += 0x9E3779B9U;
      key1 += 0xBB67AE85U;
    }
    pairs[2 * i] = (c0 & kLow) | c1 << 32;
    pairs[2 * i + 1] = (c2 & kLow) | c3 << 32;
  }
  std::memcpy(words, pairs, sizeof pairs);
}

template <class T>
FLYBALL_INLINE void drop_piece(const InvertedDropout<T>& a, const Rule<T>& rule, int64_t begin,
                               int64_t end) {
  const uint32_t step = static_cast<uint32_t>(*a.step);
  for (int64_t block = begin; block < end; block += kBlock) {
    alignas(64) uint32_t words[kBlock];
    philox_block(static_cast<uint64_t>(block) / 4, step, a.layer, a.seed, words);
    const int64_t count = std::min<int64_t>(kBlock, end - block);
    const T* x = a.x + block;
    T* y = a.y + block;
    if (a.accumulate) {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) {
        const T value = x[i];
        y[i] += (words[i] > rule.last_dropped ? value : T{0}) * rule.scale;
      }
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) {
        const T value = x[i];
        y[i] = (words[i] > rule.last_dropped ? value : T{0}) * rule.scale;
      }
    }
  }
}

FLYBALL_SIMD void drop(const InvertedDropout<float>& a, const Rule<float>& rule, int64_t begin,
                       int64_t end) {
  drop_piece(a, rule, begin, end);
}

void drop(const InvertedDropout<double>& a, const Rule<double>& rule, int64_t begin, int64_t end) {
  drop_piece(a, rule, begin, end);
}

}  // namespace

template <class T>
void dropout(const InvertedDropout<T>& a) {
  if (a.probability == 0) {
    scale(Scale<T>{.x = a.x, .y = a.y, .count = a.count, .accumulate = a.accumulate});
    return;
  }
  // word >= limit, limit = probability * 2^32, is word > ceil(limit) - 1 for limit > 0.
  const Rule<T> rule = {
      .last_dropped = static_cast<uint32_t>(std::ceil(a.probability * 0x1p32) - 1),
      .scale = static_cast<T>(1 / (1 - a.probability))};
  for_pieces(a.count, [&](int64_t begin, int64_t end) { drop(a, rule, begin, end); });
}

template void dropout(const InvertedDropout<float>&);
template void dropout(const InvertedDropout<double>&);

}  // namespace flyball::cpu

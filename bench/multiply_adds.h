#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

// The most multiply-adds that a device can do: on registers alone.
namespace flyball::bench {

enum class MultiplyAddUnit : uint8_t { f32, tf32, bf16 };

inline constexpr int kChains = 8;                // independent accumulators, or tiles of them
inline constexpr int kMultiplyAddThreads = 256;  // of a block

// sums: [blocks, kMultiplyAddThreads], what each thread's accumulators add up to.
//   f32:  kChains accumulators, chain i starts at i and adds factor * 1 each round
//   tf32, bf16: kChains tiles [16, 8] a warp, 4 accumulators a thread, tile i starts at i and adds
//     K = 8 or 16 products 1 * 1 each round
struct MultiplyAdds {
  float* sums = nullptr;
  int blocks = 0, rounds = 0;
  float factor = 1;
  unsigned ones = 0;  // a register of ones in the unit's type
};

// Enqueues it, and gives the operations of one launch, two a multiply-add.
double multiply_add(MultiplyAddUnit unit, MultiplyAdds arguments, cudaStream_t stream);

}  // namespace flyball::bench

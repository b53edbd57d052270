#include "kernels/dropout.h"

#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vectors.cuh"
#include "kernels/elementwise.h"
#include "kernels/philox.h"

namespace flyball::cuda {
namespace {

// An element is kept where its word is above last_dropped; the kept ones are scaled.
template <class T>
struct DropoutPass {
  InvertedDropout<T> operation;
  uint32_t last_dropped = 0;
  Accumulator<T> scale = 1;
};

// A slot is what one Philox counter decides.
// registers: <= 56
template <class T>
__global__ void __launch_bounds__(kMapThreads) dropout_kernel(DropoutPass<T> pass) {
  using A = Accumulator<T>;
  const InvertedDropout<T>& a = pass.operation;
  const uint32_t step = static_cast<uint32_t>(*a.step);
  const bool aligned = are_aligned(a.x, a.y);
  Slot slots[kMapSlots];
  Four<A> x[kMapSlots], y[kMapSlots];
#pragma unroll
  for (int s = 0; s < kMapSlots; ++s) {
    slots[s] =
        slot_at(blockIdx.x * kMapTile + 4 * (s * kMapThreads + threadIdx.x), a.count, aligned);
    x[s] = load(a.x, slots[s]);
    if (a.accumulate) y[s] = load(a.y, slots[s]);
  }
#pragma unroll
  for (int s = 0; s < kMapSlots; ++s) {
    const PhiloxWords words =
        philox_at(static_cast<uint64_t>(slots[s].begin) / 4, step, a.layer, a.seed);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const A value = (words.word[j] > pass.last_dropped ? x[s].at[j] : A{0}) * pass.scale;
      y[s].at[j] = a.accumulate ? y[s].at[j] + value : value;
    }
    store(a.y, slots[s], y[s]);
  }
}

}  // namespace

template <class T>
void dropout(const InvertedDropout<T>& a, cudaStream_t stream) {
  if (a.probability == 0) {
    scale(Scale<T>{.x = a.x, .y = a.y, .count = a.count, .accumulate = a.accumulate}, stream);
    return;
  }
  if (a.count == 0) return;
  // word >= limit, limit = probability * 2^32, is word > ceil(limit) - 1 for limit > 0.
  const DropoutPass<T> pass = {
      .operation = a,
      .last_dropped = static_cast<uint32_t>(std::ceil(a.probability * 0x1p32) - 1),
      .scale = static_cast<Accumulator<T>>(1 / (1 - a.probability))};
  const auto blocks = static_cast<unsigned>(ceil_divide(a.count, kMapTile));
  launch(dropout_kernel<T>, "dropout", {.grid = blocks, .block = kMapThreads}, stream, pass);
}

template void dropout(const InvertedDropout<float>&, cudaStream_t);
template void dropout(const InvertedDropout<double>&, cudaStream_t);
template void dropout(const InvertedDropout<bf16>&, cudaStream_t);

}  // namespace flyball::cuda

#include "kernels/batch.h"

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/permutation.h"

namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kSlotTile = int64_t{16} * kThreads;  // bytes that a block copies at a time

// One block, so that everybody has read the cursor before it moves.
// registers: <= 56
__global__ void __launch_bounds__(kThreads) draw_batch_kernel(DrawBatch d) {
  const BatchCursor at = *d.cursor;
  const auto epoch = static_cast<uint32_t>(at.epoch);
  const int64_t first = at.index * d.batch_size;
  for (int64_t i = threadIdx.x; i < d.n; i += kThreads) {
    const int64_t place =
        d.shuffle ? permuted(first + i, d.samples, d.seed, epoch, d.stream) : first + i;
    d.indices[i] = d.chosen[place];
  }
  __syncthreads();  // all have read the cursor
  if (threadIdx.x != 0) return;
  *d.epoch = epoch;
  const bool last = first + d.batch_size >= d.samples;
  *d.cursor = last ? BatchCursor{at.epoch + 1, 0} : BatchCursor{at.epoch, at.index + 1};
}

// The grid's threads copy 16 bytes each, and the rest of the last 16 byte by byte.
__device__ void copy_slot(const SlotCopy& copy, int64_t slot) {
  const char* from = static_cast<const char*>(copy.ring) + slot * copy.slot_bytes;
  char* to = static_cast<char*>(copy.to);
  const int64_t stride = gridDim.x * kSlotTile;
  for (int64_t i = blockIdx.x * kSlotTile + 16 * threadIdx.x; i < copy.bytes; i += stride) {
    if (i + 16 <= copy.bytes) {
      *reinterpret_cast<uint4*>(to + i) = *reinterpret_cast<const uint4*>(from + i);
    } else {
      for (int64_t j = i; j < copy.bytes; ++j) to[j] = from[j];
    }
  }
}

// registers: <= 36
__global__ void __launch_bounds__(kThreads) take_slot_kernel(TakeSlot t) {
  const int64_t taken = *t.taken, slot = taken % t.slots;
  copy_slot(t.x, slot);
  copy_slot(t.labels, slot);
  // The last block: everybody has read the counter.
  if (is_last_block(t.arrivals) && threadIdx.x == 0) {
    *t.taken = taken + 1;
    *t.arrivals = 0;
  }
}

}  // namespace

void draw_batch(const DrawBatch& d, cudaStream_t stream) {
  launch(draw_batch_kernel, "draw_batch", {.grid = dim3(1), .block = dim3(kThreads)}, stream, d);
}

void take_slot(const TakeSlot& t, cudaStream_t stream) {
  const int64_t blocks = std::clamp<int64_t>(ceil_divide(t.x.bytes, kSlotTile), 1, 1024);
  launch(take_slot_kernel, "take_slot",
         {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)}, stream, t);
}

}  // namespace flyball::cuda

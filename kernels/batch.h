#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

// Which batch a training step reads, decided by cursors in device memory, so that a captured graph
// moves on by itself.
namespace flyball {

// A place in the endless sequence of epochs.
struct BatchCursor {
  int64_t epoch = 0;
  int64_t index = 0;  // of the batch within the epoch
};

// The samples of the batch at *cursor, which then moves to the next batch:
//   indices[i] = chosen[shuffle ? permuted(index * batch_size + i, samples, seed, epoch, stream)
//                               : index * batch_size + i]      for the n samples of the batch
//   *epoch     = the batch's epoch
// chosen: [samples]; n: min(batch_size, samples - index * batch_size), which the host knows.
// permuted(): kernels/permutation.h.
struct DrawBatch {
  const int64_t* chosen = nullptr;
  int64_t samples = 0, batch_size = 0, n = 0;
  bool shuffle = true;
  uint64_t seed = 0;
  uint32_t stream = 0;
  BatchCursor* cursor = nullptr;
  int64_t* indices = nullptr;
  uint32_t* epoch = nullptr;
};

// One array of a ring of slots in device memory, and where its current slot goes; 16-byte aligned,
// slots too.
struct SlotCopy {
  const void* ring = nullptr;
  int64_t slot_bytes = 0;  // a multiple of 16
  void* to = nullptr;
  int64_t bytes = 0;  // of the slot
};

// Copies slot *taken % slots of both arrays; then *taken += 1. arrivals: 0 before and after.
struct TakeSlot {
  SlotCopy x, labels;
  int64_t slots = 0;
  int64_t* taken = nullptr;
  uint32_t* arrivals = nullptr;
};

namespace cpu {
void draw_batch(const DrawBatch&);
void take_slot(const TakeSlot&);
}  // namespace cpu

namespace cuda {
void draw_batch(const DrawBatch&, cudaStream_t);
void take_slot(const TakeSlot&, cudaStream_t);
}  // namespace cuda

}  // namespace flyball

#pragma once

#include <cstring>

#include "kernels/batch.h"
#include "kernels/permutation.h"

// The formulas of kernels/batch.h.
namespace flyball::reference {

inline void draw_batch(const DrawBatch& d) {
  const BatchCursor before = *d.cursor;
  const int64_t batches = (d.samples + d.batch_size - 1) / d.batch_size;
  for (int64_t i = 0; i < d.n; ++i) {
    int64_t place = before.index * d.batch_size + i;
    if (d.shuffle) {
      place = permuted(place, d.samples, d.seed, static_cast<uint32_t>(before.epoch), d.stream);
    }
    d.indices[i] = d.chosen[place];
  }
  *d.epoch = static_cast<uint32_t>(before.epoch);
  const int64_t batch = before.epoch * batches + before.index + 1;
  *d.cursor = {batch / batches, batch % batches};
}

inline void take_slot(const TakeSlot& t) {
  const int64_t slot = *t.taken - *t.taken / t.slots * t.slots;
  const auto copy = [&](const SlotCopy& c) {
    const char* from = static_cast<const char*>(c.ring) + slot * c.slot_bytes;
    for (int64_t i = 0; i < c.bytes; ++i) static_cast<char*>(c.to)[i] = from[i];
  };
  copy(t.x);
  copy(t.labels);
  ++*t.taken;
}

}  // namespace flyball::reference

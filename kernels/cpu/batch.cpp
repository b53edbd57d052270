#include "kernels/batch.h"

#include <cstddef>
#include <cstring>
#include <initializer_list>

#include "kernels/permutation.h"

namespace flyball::cpu {

void draw_batch(const DrawBatch& d) {
  const BatchCursor at = *d.cursor;
  const auto epoch = static_cast<uint32_t>(at.epoch);
  const int64_t first = at.index * d.batch_size;
  for (int64_t i = 0; i < d.n; ++i) {
    const int64_t place =
        d.shuffle ? permuted(first + i, d.samples, d.seed, epoch, d.stream) : first + i;
    d.indices[i] = d.chosen[place];
  }
  *d.epoch = epoch;
  const bool last = first + d.batch_size >= d.samples;
  *d.cursor = last ? BatchCursor{at.epoch + 1, 0} : BatchCursor{at.epoch, at.index + 1};
}

void take_slot(const TakeSlot& t) {
  const int64_t slot = *t.taken % t.slots;
  for (const SlotCopy& copy : {t.x, t.labels}) {
    std::memcpy(copy.to, static_cast<const std::byte*>(copy.ring) + slot * copy.slot_bytes,
                static_cast<size_t>(copy.bytes));
  }
  *t.taken += 1;
}

}  // namespace flyball::cpu

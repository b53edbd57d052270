#pragma once

#include <algorithm>

#include "kernels/sequence_pool.h"

namespace flyball::reference {

// Calls visit(x index, y index, time, length) for every real element that may count for y.
template <class Visit>
void for_each_pooled_element(const SequencePoolShape& s, const int32_t* lengths, Visit visit) {
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t length =
          lengths == nullptr ? s.time : std::clamp<int64_t>(lengths[b], 0, s.time);
      const bool backward = c >= s.c - s.backward_columns;
      for (int64_t t = 0; t < length; ++t) {
        if (s.kind == SequencePool::kLast && t != (backward ? 0 : length - 1)) continue;
        visit((t * s.batch + b) * s.c + c, b * s.c + c, t, length);
      }
    }
}

inline void sequence_pool_forward(const SequencePoolForward<double>& f) {
  const SequencePoolShape& s = f.shape;
  std::fill_n(f.y, s.batch * s.c, 0.0);
  if (f.argmax != nullptr) std::fill_n(f.argmax, s.batch * s.c, -1);
  for_each_pooled_element(s, f.lengths, [&](int64_t x, int64_t y, int64_t t, int64_t length) {
    if (s.kind == SequencePool::kMean) f.y[y] += f.x[x] / static_cast<double>(length);
    if (s.kind == SequencePool::kLast) f.y[y] = f.x[x];
    if (s.kind != SequencePool::kMax || (t > 0 && f.x[x] <= f.y[y])) return;
    f.y[y] = f.x[x];
    if (f.argmax != nullptr) f.argmax[y] = static_cast<int32_t>(t);
  });
}

inline void sequence_pool_backward(const SequencePoolBackward<double>& g) {
  const SequencePoolShape& s = g.shape;
  if (!g.accumulate) std::fill_n(g.dx, s.time * s.batch * s.c, 0.0);
  for_each_pooled_element(s, g.lengths, [&](int64_t x, int64_t y, int64_t t, int64_t length) {
    if (s.kind == SequencePool::kMean) g.dx[x] += g.dy[y] / static_cast<double>(length);
    if (s.kind == SequencePool::kLast) g.dx[x] += g.dy[y];
    if (s.kind == SequencePool::kMax && g.argmax[y] == t) g.dx[x] += g.dy[y];
  });
}

}  // namespace flyball::reference

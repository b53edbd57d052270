#include "kernels/sequence_pool.h"

#include <algorithm>

#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/parallel.h"

namespace flyball::cpu {
namespace {

int64_t length_of(const int32_t* lengths, int64_t b, int64_t time) {
  return lengths == nullptr ? time : std::clamp<int64_t>(lengths[b], 0, time);
}

// The step that column c takes with kLast.
int64_t last_step(const SequencePoolShape& s, int64_t c, int64_t length) {
  return c < s.c - s.backward_columns ? length - 1 : 0;
}

template <class T>
void max_over_time(const SequencePoolForward<T>& f, int64_t b, int64_t length) {
  const SequencePoolShape& s = f.shape;
  T* y = f.y + b * s.c;
  int32_t* argmax = f.argmax == nullptr ? nullptr : f.argmax + b * s.c;
  for (int64_t t = 0; t < length; ++t) {
    const T* x = f.x + (t * s.batch + b) * s.c;
    for (int64_t c = 0; c < s.c; ++c) {
      if (t > 0 && !(x[c] > y[c] || x[c] != x[c])) continue;
      y[c] = x[c];
      if (argmax != nullptr) argmax[c] = static_cast<int32_t>(t);
    }
  }
}

}  // namespace

template <class T>
void sequence_pool_forward(const SequencePoolForward<T>& f) {
  const SequencePoolShape& s = f.shape;
  parallel_for(s.batch, [&](int64_t b) {
    const int64_t length = length_of(f.lengths, b, s.time);
    T* y = f.y + b * s.c;
    std::fill_n(y, s.c, T(0));
    if (s.kind == SequencePool::kMax) {
      if (f.argmax != nullptr) std::fill_n(f.argmax + b * s.c, s.c, -1);
      max_over_time(f, b, length);
    } else if (s.kind == SequencePool::kMean) {
      for (int64_t t = 0; t < length; ++t) add_to(y, f.x + (t * s.batch + b) * s.c, s.c);
      const T factor = T(1) / static_cast<T>(std::max<int64_t>(length, 1));
      for (int64_t c = 0; c < s.c; ++c) y[c] *= factor;
    } else if (length > 0) {
      for (int64_t c = 0; c < s.c; ++c) {
        y[c] = f.x[(last_step(s, c, length) * s.batch + b) * s.c + c];
      }
    }
  });
}

template <class T>
void sequence_pool_backward(const SequencePoolBackward<T>& g) {
  const SequencePoolShape& s = g.shape;
  parallel_for(s.batch, [&](int64_t b) {
    const int64_t length = length_of(g.lengths, b, s.time);
    const T factor = T(1) / static_cast<T>(std::max<int64_t>(length, 1));
    const T* dy = g.dy + b * s.c;
    for (int64_t t = 0; t < s.time; ++t) {
      T* dx = g.dx + (t * s.batch + b) * s.c;
      for (int64_t c = 0; c < s.c; ++c) {
        const bool chosen = s.kind == SequencePool::kMax ? g.argmax[b * s.c + c] == t
                                                         : t == last_step(s, c, length);
        T term = chosen && t < length ? dy[c] : T(0);
        if (s.kind == SequencePool::kMean) term = t < length ? dy[c] * factor : T(0);
        dx[c] = g.accumulate ? dx[c] + term : term;
      }
    }
  });
}

template void sequence_pool_forward(const SequencePoolForward<float>&);
template void sequence_pool_forward(const SequencePoolForward<double>&);
template void sequence_pool_backward(const SequencePoolBackward<float>&);
template void sequence_pool_backward(const SequencePoolBackward<double>&);

}  // namespace flyball::cpu

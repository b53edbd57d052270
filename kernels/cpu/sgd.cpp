#include "kernels/sgd.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/simd.h"

// Compiled with -ffp-contract=off: the same bits on every instruction set.
namespace flyball::cpu {
namespace {

// Worked out in f64 and rounded to T once.
template <class T>
struct Factors {
  T rate, mu, clip, weight_decay;
};

template <class T>
FLYBALL_INLINE void update_piece(const SgdStep<T>& a, const Factors<T>& f, int64_t begin,
                                 int64_t end) {
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) {
    const T clipped = a.gradients[i] * f.clip;
    const T g = clipped - clipped == 0 ? clipped : T{0};
    const T momentum = f.mu * a.momentum[i] + (g + f.weight_decay * a.values[i]);
    a.momentum[i] = momentum;
    a.values[i] -= f.rate * momentum;
  }
}

FLYBALL_SIMD void update(const SgdStep<float>& a, const Factors<float>& f, int64_t begin,
                         int64_t end) {
  update_piece(a, f, begin, end);
}
void update(const SgdStep<double>& a, const Factors<double>& f, int64_t begin, int64_t end) {
  update_piece(a, f, begin, end);
}

}  // namespace

template <class T>
void sgd(const SgdStep<T>& a) {
  if (!is_finite(static_cast<double>(*a.feedback.loss))) return;
  const double clip = a.clip_norm > 0 ? clip_factor(a.clip_norm, *a.gradient_norm_squared) : 1;
  for (int64_t s = 0; s < a.segment_count; ++s) {
    const ParameterSegment& segment = a.segments[s];
    const Factors<T> factors = {
        .rate = static_cast<T>(a.feedback.state->rate),
        .mu = static_cast<T>(a.mu),
        .clip = static_cast<T>(clip),
        .weight_decay = static_cast<T>(segment.decay != 0 ? a.weight_decay : 0)};
    for_pieces(segment.end - segment.begin, [&](int64_t begin, int64_t end) {
      update(a, factors, segment.begin + begin, segment.begin + end);
    });
  }
}

template void sgd(const SgdStep<float>&);
template void sgd(const SgdStep<double>&);

}  // namespace flyball::cpu

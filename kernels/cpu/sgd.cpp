#include "kernels/sgd.h"

#include <algorithm>
#include <span>

#include "kernels/cpu/arena_chunks.h"
#include "kernels/cpu/simd.h"

// Compiled with -ffp-contract=off: the same bits on every instruction set.
namespace flyball::cpu {
namespace {

// Worked out in f64 and rounded to T once.
template <class T>
struct Factors {
  T rate, mu, clip, weight_decay;
};

template <class T, bool kSums>
FLYBALL_INLINE void update_chunk(const SgdStep<T>& a, const Factors<T>& f, const Chunk& chunk,
                                 GradientSums& sums) {
  LaneProducts<T> products;
  const T weight_decay = chunk.decay ? f.weight_decay : T{0};
  for (int64_t begin = chunk.begin; begin < chunk.end; begin += kLaneBlock) {
    const int64_t count = std::min(kLaneBlock, chunk.end - begin);
    T* p = a.values + begin;
    T* momenta = a.momentum + begin;
    const T* gradient = a.gradients + begin;
    alignas(64) T g_block[kLaneBlock], u_block[kLaneBlock];
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      const T clipped = gradient[i] * f.clip;
      const T g = (clipped - clipped == 0 ? clipped : T{0}) + weight_decay * p[i];
      const T before = momenta[i];
      const T momentum = f.mu * before + g;
      momenta[i] = momentum;
      p[i] -= f.rate * momentum;
      if constexpr (kSums) {
        g_block[i] = g;
        u_block[i] = before;
      }
    }
    if constexpr (kSums) products.add(g_block, u_block, count);
  }
  if constexpr (kSums) sums = products.sums();
}

FLYBALL_SIMD void update(const SgdStep<float>& a, const Factors<float>& f, const Chunk& chunk) {
  GradientSums none;
  update_chunk<float, false>(a, f, chunk, none);
}
FLYBALL_SIMD void update_with_sums(const SgdStep<float>& a, const Factors<float>& f,
                                   const Chunk& chunk, GradientSums& sums) {
  update_chunk<float, true>(a, f, chunk, sums);
}
void update(const SgdStep<double>& a, const Factors<double>& f, const Chunk& chunk) {
  GradientSums none;
  update_chunk<double, false>(a, f, chunk, none);
}
void update_with_sums(const SgdStep<double>& a, const Factors<double>& f, const Chunk& chunk,
                      GradientSums& sums) {
  update_chunk<double, true>(a, f, chunk, sums);
}

template <class T>
void roll_back(const SgdStep<T>& a, std::span<const Chunk> chunks) {
  for_each_chunk(chunks, [&](int64_t i) {
    const Chunk& chunk = chunks[static_cast<size_t>(i)];
    if (a.snapshot != nullptr) copy_chunk<T>(a.snapshot, a.values, chunk);
    std::fill(a.momentum + chunk.begin, a.momentum + chunk.end, T{0});
  });
}

template <class T>
void advance(const SgdStep<T>& a, std::span<const Chunk> chunks) {
  const double clip = a.clip_norm > 0 ? clip_factor(a.clip_norm, *a.gradient_norm_squared) : 1;
  const Factors<T> factors = {.rate = static_cast<T>(a.feedback.state->rate),
                              .mu = static_cast<T>(a.mu),
                              .clip = static_cast<T>(clip),
                              .weight_decay = static_cast<T>(a.weight_decay)};
  const bool keep_snapshot = a.feedback.state->action == Action::kSnapshot && a.snapshot != nullptr;
  for_each_chunk(chunks, [&](int64_t i) {
    const Chunk& chunk = chunks[static_cast<size_t>(i)];
    if (keep_snapshot) copy_chunk<T>(a.values, a.snapshot, chunk);
    if (a.partial_sums == nullptr) {
      update(a, factors, chunk);
      return;
    }
    GradientSums sums;
    update_with_sums(a, factors, chunk, sums);
    put_partial_sums(sums, i, a.partial_sums);
  });
}

}  // namespace

template <class T>
void sgd(const SgdStep<T>& a) {
  const std::span<const Chunk> chunks = cut(a.segments, a.segment_count);
  const StepCourse course = course_of(a.feedback);
  if (course == StepCourse::roll_back) roll_back(a, chunks);
  if (course == StepCourse::update) advance(a, chunks);
}

template void sgd(const SgdStep<float>&);
template void sgd(const SgdStep<double>&);

}  // namespace flyball::cpu

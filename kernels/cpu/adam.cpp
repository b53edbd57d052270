#include "kernels/adam.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/cpu/arena_chunks.h"
#include "kernels/cpu/simd.h"

// Compiled with -ffp-contract=off: the same bits on every instruction set.
namespace flyball::cpu {
namespace {

// What every element of the step is computed with; worked out in f64 and rounded to T once.
template <class T>
struct Factors {
  T clip, beta1, beta1_rest, beta2, beta2_rest, epsilon;
  T step_size;      // rate / (1 - beta1^t)
  T root_scale;     // 1 / sqrt(1 - beta2^t)
  T root_scale_u;   // the same of the step before, 0 when there is none
  T kept_by_decay;  // 1 - rate * weight_decay
};

template <class T>
FLYBALL_INLINE T finite_or_zero(T x) {
  return x - x == 0 ? x : 0;
}

// In `sums` u is still without its factor 1 / (1 - beta1^(t-1)).
template <class T, bool kSums>
FLYBALL_INLINE void update_chunk(const AdamStep<T>& a, const Factors<T>& f, const Chunk& chunk,
                                 GradientSums& sums) {
  LaneProducts<T> products;
  const T kept = chunk.decay ? f.kept_by_decay : T{1};
  for (int64_t begin = chunk.begin; begin < chunk.end; begin += kLaneBlock) {
    const int64_t count = std::min(kLaneBlock, chunk.end - begin);
    T* p = a.values + begin;
    T* m = a.m + begin;
    T* v = a.v + begin;
    const T* gradient = a.gradients + begin;
    alignas(64) T g_block[kLaneBlock], u_block[kLaneBlock];
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      const T g = finite_or_zero(gradient[i] * f.clip);
      const T m_before = m[i];
      const T v_before = v[i];
      const T m_after = f.beta1 * m_before + f.beta1_rest * g;
      const T v_after = f.beta2 * v_before + f.beta2_rest * g * g;
      m[i] = m_after;
      v[i] = v_after;
      p[i] =
          p[i] * kept - f.step_size * (m_after / (std::sqrt(v_after) * f.root_scale + f.epsilon));
      if constexpr (kSums) {
        g_block[i] = g;
        u_block[i] = m_before / (std::sqrt(v_before) * f.root_scale_u + f.epsilon);
      }
    }
    if constexpr (kSums) products.add(g_block, u_block, count);
  }
  if constexpr (kSums) sums = products.sums();
}

FLYBALL_SIMD void update(const AdamStep<float>& a, const Factors<float>& f, const Chunk& chunk) {
  GradientSums none;
  update_chunk<float, false>(a, f, chunk, none);
}
FLYBALL_SIMD void update_with_sums(const AdamStep<float>& a, const Factors<float>& f,
                                   const Chunk& chunk, GradientSums& sums) {
  update_chunk<float, true>(a, f, chunk, sums);
}
void update(const AdamStep<double>& a, const Factors<double>& f, const Chunk& chunk) {
  GradientSums none;
  update_chunk<double, false>(a, f, chunk, none);
}
void update_with_sums(const AdamStep<double>& a, const Factors<double>& f, const Chunk& chunk,
                      GradientSums& sums) {
  update_chunk<double, true>(a, f, chunk, sums);
}

template <class T>
void roll_back(const AdamStep<T>& a, std::span<const Chunk> chunks) {
  for_each_chunk(chunks, [&](int64_t i) {
    const Chunk& chunk = chunks[static_cast<size_t>(i)];
    if (a.snapshot != nullptr) copy_chunk(a.snapshot, a.values, chunk);
    std::fill(a.m + chunk.begin, a.m + chunk.end, T{0});
    std::fill(a.v + chunk.begin, a.v + chunk.end, T{0});
  });
  *a.powers = {};
}

// The update; returns its sums, zeros unless a.sums.
template <class T>
GradientSums advance(const AdamStep<T>& a, std::span<const Chunk> chunks) {
  const AdamPowers before = *a.powers;
  const AdamPowers now = {before.beta1_power * a.beta1, before.beta2_power * a.beta2};
  const bool first = before.beta1_power == 1;
  const double rate = a.feedback.state->rate;
  const double clip = a.clip_norm > 0 ? clip_factor(a.clip_norm, *a.gradient_norm_squared) : 1;
  const Factors<T> factors = {
      .clip = static_cast<T>(clip),
      .beta1 = static_cast<T>(a.beta1),
      .beta1_rest = static_cast<T>(1 - a.beta1),
      .beta2 = static_cast<T>(a.beta2),
      .beta2_rest = static_cast<T>(1 - a.beta2),
      .epsilon = static_cast<T>(a.epsilon),
      .step_size = static_cast<T>(rate / (1 - now.beta1_power)),
      .root_scale = static_cast<T>(1 / std::sqrt(1 - now.beta2_power)),
      .root_scale_u = static_cast<T>(first ? 0 : 1 / std::sqrt(1 - before.beta2_power)),
      .kept_by_decay = static_cast<T>(1 - rate * a.weight_decay),
  };
  const bool keep_snapshot = a.feedback.state->action == Action::kSnapshot && a.snapshot != nullptr;
  for_each_chunk(chunks, [&](int64_t i) {
    const Chunk& chunk = chunks[static_cast<size_t>(i)];
    if (keep_snapshot) copy_chunk<T>(a.values, a.snapshot, chunk);
    if (a.sums) {
      GradientSums sums;
      update_with_sums(a, factors, chunk, sums);
      put_partial_sums(sums, i, a.partial_sums);
    } else {
      update(a, factors, chunk);
    }
  });
  *a.powers = now;
  GradientSums total;
  if (a.sums) {
    total = total_of(a.partial_sums, static_cast<int64_t>(chunks.size()));
    const double u_scale = first ? 0 : 1 / (1 - before.beta1_power);
    total.gu *= u_scale;
    total.uu *= u_scale * u_scale;
  }
  return total;
}

}  // namespace

template <class T>
void adam(const AdamStep<T>& a) {
  const std::span<const Chunk> chunks = cut(a.segments, a.segment_count);
  GradientSums sums;
  if (a.feedback.state->action == Action::kRollback) {
    roll_back(a, chunks);
  } else if (is_finite(static_cast<double>(*a.feedback.loss))) {
    sums = advance(a, chunks);
  }
  if (a.sums) set_sums(*a.feedback.signals, sums);
  learning_rate(a.feedback);
}

template void adam(const AdamStep<float>&);
template void adam(const AdamStep<double>&);

}  // namespace flyball::cpu

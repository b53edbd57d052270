#include "kernels/adam.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/simd.h"

// Compiled with -ffp-contract=off: the same bits on every instruction set.
namespace flyball::cpu {
namespace {

// A piece of the arena: at most kAdamChunk elements of one segment.
struct Chunk {
  int64_t begin = 0, end = 0;
  bool decay = false;
};

// What every element of the step is computed with; worked out in f64 and rounded to T once.
template <class T>
struct Factors {
  T clip, beta1, beta1_rest, beta2, beta2_rest, epsilon;
  T step_size;      // rate / (1 - beta1^t)
  T root_scale;     // 1 / sqrt(1 - beta2^t)
  T root_scale_u;   // the same of the step before, 0 when there is none
  T kept_by_decay;  // 1 - rate * weight_decay
};

// <g, u>, |g|^2 and |u|^2 of a piece; u is still without its factor 1 / (1 - beta1^(t-1)).
struct Sums {
  double gu = 0, gg = 0, uu = 0;
};

template <class T>
FLYBALL_INLINE T finite_or_zero(T x) {
  return x - x == 0 ? x : 0;
}

template <class T, bool kSums>
FLYBALL_INLINE void update_chunk(const AdamStep<T>& a, const Factors<T>& f, const Chunk& chunk,
                                 Sums& sums) {
  double gu_total[kLanes] = {}, gg_total[kLanes] = {}, uu_total[kLanes] = {};
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
    if constexpr (kSums) {
      for (int64_t i = count; i < kLaneBlock; ++i) g_block[i] = u_block[i] = 0;
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        T gu = 0, gg = 0, uu = 0;
#pragma GCC unroll 16
        for (int64_t i = 0; i < kLaneBlock; i += kLanes) {
          const T g = g_block[i + lane];
          const T u = u_block[i + lane];
          gu += g * u;
          gg += g * g;
          uu += u * u;
        }
        gu_total[lane] += static_cast<double>(gu);
        gg_total[lane] += static_cast<double>(gg);
        uu_total[lane] += static_cast<double>(uu);
      }
    }
  }
  if constexpr (kSums) {
    sums = {sum_of_lanes(gu_total), sum_of_lanes(gg_total), sum_of_lanes(uu_total)};
  }
}

FLYBALL_SIMD void update(const AdamStep<float>& a, const Factors<float>& f, const Chunk& chunk) {
  Sums none;
  update_chunk<float, false>(a, f, chunk, none);
}
FLYBALL_SIMD void update_with_sums(const AdamStep<float>& a, const Factors<float>& f,
                                   const Chunk& chunk, Sums& sums) {
  update_chunk<float, true>(a, f, chunk, sums);
}
void update(const AdamStep<double>& a, const Factors<double>& f, const Chunk& chunk) {
  Sums none;
  update_chunk<double, false>(a, f, chunk, none);
}
void update_with_sums(const AdamStep<double>& a, const Factors<double>& f, const Chunk& chunk,
                      Sums& sums) {
  update_chunk<double, true>(a, f, chunk, sums);
}

std::vector<Chunk> cut(const ParameterSegment* segments, int64_t segment_count) {
  std::vector<Chunk> chunks;
  chunks.reserve(static_cast<size_t>(adam_chunks(segments, segment_count)));
  for (int64_t i = 0; i < segment_count; ++i) {
    const ParameterSegment& segment = segments[i];
    for (int64_t begin = segment.begin; begin < segment.end; begin += kAdamChunk) {
      chunks.push_back({begin, std::min(begin + kAdamChunk, segment.end), segment.decay != 0});
    }
  }
  return chunks;
}

// Calls body(i) for every chunk, on this thread alone where the whole arena is small.
template <class Body>
void for_each_chunk(const std::vector<Chunk>& chunks, Body&& body) {
  int64_t elements = 0;
  for (const Chunk& chunk : chunks) elements += chunk.end - chunk.begin;
  const int64_t count = static_cast<int64_t>(chunks.size());
  if (elements > kPieceElements) {
    parallel_for(count, [&](int64_t i) { body(i); });
  } else {
    for (int64_t i = 0; i < count; ++i) body(i);
  }
}

template <class T>
void copy_chunk(const T* from, T* to, const Chunk& chunk) {
  std::copy(from + chunk.begin, from + chunk.end, to + chunk.begin);
}

template <class T>
void roll_back(const AdamStep<T>& a, const std::vector<Chunk>& chunks) {
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
Sums advance(const AdamStep<T>& a, const std::vector<Chunk>& chunks) {
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
      Sums sums;
      update_with_sums(a, factors, chunk, sums);
      double* partial = a.partial_sums + 3 * i;
      partial[0] = sums.gu;
      partial[1] = sums.gg;
      partial[2] = sums.uu;
    } else {
      update(a, factors, chunk);
    }
  });
  *a.powers = now;
  Sums total;
  if (a.sums) {
    for (size_t i = 0; i < chunks.size(); ++i) {
      total.gu += a.partial_sums[3 * i];
      total.gg += a.partial_sums[3 * i + 1];
      total.uu += a.partial_sums[3 * i + 2];
    }
    const double u_scale = first ? 0 : 1 / (1 - before.beta1_power);
    total.gu *= u_scale;
    total.uu *= u_scale * u_scale;
  }
  return total;
}

}  // namespace

template <class T>
void adam(const AdamStep<T>& a) {
  const std::vector<Chunk> chunks = cut(a.segments, a.segment_count);
  Sums sums;
  if (a.feedback.state->action == Action::kRollback) {
    roll_back(a, chunks);
  } else if (is_finite(static_cast<double>(*a.feedback.loss))) {
    sums = advance(a, chunks);
  }
  if (a.sums) {
    StepSignals& signals = *a.feedback.signals;
    signals.gradient_dot_update = sums.gu;
    signals.gradient_norm_squared = sums.gg;
    signals.update_norm_squared = sums.uu;
  }
  learning_rate(a.feedback);
}

template void adam(const AdamStep<float>&);
template void adam(const AdamStep<double>&);

}  // namespace flyball::cpu

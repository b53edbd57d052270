#include "kernels/adam.h"

#include <cmath>

#include "kernels/cuda/chunks.cuh"
#include "kernels/cuda/end_step.cuh"
#include "kernels/cuda/gradient_sums.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

// Compiled with --fmad=false, and sums in the CPU's order (kernels/cpu/lanes.h): the same bits as
// on the CPU, the sums that drive the learning rate included.
namespace flyball::cuda {
namespace {

template <class T>
constexpr int kInFlight = sizeof(T) == 4 ? 2 : 1;  // vectors whose loads are in flight together
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
struct Plan {
  StepCourse course;
  bool keep_snapshot;
  Factors<T> factors;
};

template <class T>
__device__ Plan<T> make_plan(const AdamStep<T>& a) {
  const Action action = a.feedback.state->action;
  const double rate = a.feedback.state->rate;
  const double beta1_before = a.powers->beta1_power, beta2_before = a.powers->beta2_power;
  const double beta1_now = beta1_before * a.beta1, beta2_now = beta2_before * a.beta2;
  const double clip = a.clip_norm > 0 ? clip_factor(a.clip_norm, *a.gradient_norm_squared) : 1;
  return {.course = course_of(a.feedback),
          .keep_snapshot = action == Action::kSnapshot && a.snapshot != nullptr,
          .factors = {
              .clip = static_cast<T>(clip),
              .beta1 = static_cast<T>(a.beta1),
              .beta1_rest = static_cast<T>(1 - a.beta1),
              .beta2 = static_cast<T>(a.beta2),
              .beta2_rest = static_cast<T>(1 - a.beta2),
              .epsilon = static_cast<T>(a.epsilon),
              .step_size = static_cast<T>(rate / (1 - beta1_now)),
              .root_scale = static_cast<T>(1 / sqrt(1 - beta2_now)),
              .root_scale_u = static_cast<T>(beta1_before == 1 ? 0 : 1 / sqrt(1 - beta2_before)),
              .kept_by_decay = static_cast<T>(1 - rate * a.weight_decay),
          }};
}

// sums[kind][j]: of the thread's j-th lane.
template <class T, bool kSums>
__device__ void update_chunk(const AdamStep<T>& a, const Plan<T>& plan, const Chunk& chunk,
                             T (&sums)[kKinds][4]) {
  const Factors<T> f = plan.factors;
  const T kept = chunk.decay ? f.kept_by_decay : T{1};
  T* values = a.values + chunk.begin;
  T* ms = a.m + chunk.begin;
  T* vs = a.v + chunk.begin;
  const T* gradients = a.gradients + chunk.begin;
  T* snapshot = plan.keep_snapshot ? a.snapshot + chunk.begin : nullptr;
  const bool aligned =
      are_aligned(values, ms, vs, gradients) && (snapshot == nullptr || are_aligned(snapshot));
  const int64_t count = chunk.end - chunk.begin;
#pragma unroll 1
  for (int k = 0; k < kVectors; k += kInFlight<T>) {
    Slot slots[kInFlight<T>];
    Four<T> p[kInFlight<T>], m[kInFlight<T>], v[kInFlight<T>], gradient[kInFlight<T>];
#pragma unroll
    for (int s = 0; s < kInFlight<T>; ++s) {
      slots[s] = slot_at(first_element() + (k + s) * kLanes, count, aligned);
      gradient[s] = load(gradients, slots[s]);
      m[s] = load(ms, slots[s]);
      v[s] = load(vs, slots[s]);
      p[s] = load(values, slots[s]);
    }
#pragma unroll
    for (int s = 0; s < kInFlight<T>; ++s) {
      if (snapshot != nullptr) store(snapshot, slots[s], p[s]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const T clipped = gradient[s].at[j] * f.clip;
        const T g = clipped - clipped == 0 ? clipped : T{0};
        const T m_before = m[s].at[j];
        const T v_before = v[s].at[j];
        const T m_after = f.beta1 * m_before + f.beta1_rest * g;
        const T v_after = f.beta2 * v_before + f.beta2_rest * g * g;
        m[s].at[j] = m_after;
        v[s].at[j] = v_after;
        p[s].at[j] = p[s].at[j] * kept -
                     f.step_size * (m_after / (sqrt(v_after) * f.root_scale + f.epsilon));
        if constexpr (kSums) {
          // Beyond the chunk's end m_before and g are 0, and so are the products.
          const T u = m_before / (sqrt(v_before) * f.root_scale_u + f.epsilon);
          sums[0][j] += g * u;
          sums[1][j] += g * g;
          sums[2][j] += u * u;
        }
      }
      store(ms, slots[s], m[s]);
      store(vs, slots[s], v[s]);
      store(values, slots[s], p[s]);
    }
  }
}

template <class T>
__device__ void roll_back_chunk(const AdamStep<T>& a, const Chunk& chunk) {
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += kArenaThreads) {
    if (a.snapshot != nullptr) a.values[i] = a.snapshot[i];
    a.m[i] = 0;
    a.v[i] = 0;
  }
}

// The end of the step, in the block that comes last: sums, powers and the learning-rate rule.
template <class T>
__device__ void finish(const AdamStep<T>& a, StepCourse course, int64_t chunks) {
  __shared__ double totals[kKinds];
  put_totals(a.partial_sums, chunks, a.sums && course == StepCourse::update, totals);
  GradientSums sums;
  if (threadIdx.x == 0) {
    const AdamPowers before = *a.powers;
    const double u_scale = before.beta1_power == 1 ? 0 : 1 / (1 - before.beta1_power);
    sums = {a.sums, totals[0] * u_scale, totals[1], totals[2] * (u_scale * u_scale)};
    if (course == StepCourse::update) {
      *a.powers = {before.beta1_power * a.beta1, before.beta2_power * a.beta2};
    } else if (course == StepCourse::roll_back) {
      *a.powers = {};
    }
  }
  end_step(a.feedback, sums);
}

// registers: <= 144
template <class T, bool kSums>
__global__ void __launch_bounds__(kArenaThreads, sizeof(T) == 4 ? 2 : 1)
    adam_kernel(AdamStep<T> a) {
  __shared__ Plan<T> plan;
  if (threadIdx.x == 0) plan = make_plan(a);
  __syncthreads();  // the plan is made
  const StepCourse course = plan.course;
  ChunkWalker walker(a.segments, a.segment_count);
  Chunk chunk;
  if (course != StepCourse::skip) {
    for (int64_t i = blockIdx.x; walker.find(i, chunk); i += gridDim.x) {
      if (course == StepCourse::roll_back) {
        roll_back_chunk(a, chunk);
      } else {
        T sums[kKinds][4] = {};
        update_chunk<T, kSums>(a, plan, chunk, sums);
        if constexpr (kSums) put_partial_sums(sums, a.partial_sums + kKinds * i);
      }
    }
  }
  if (is_last_block(a.arrivals)) {
    if (threadIdx.x == 0) *a.arrivals = 0;
    finish(a, course, walker.passed());
  }
}

}  // namespace

template <class T>
void adam(const AdamStep<T>& a, cudaStream_t stream) {
  launch(a.sums ? adam_kernel<T, true> : adam_kernel<T, false>, "adam",
         {.grid = arena_blocks(), .block = kArenaThreads}, stream, a);
}

template void adam(const AdamStep<float>&, cudaStream_t);
template void adam(const AdamStep<double>&, cudaStream_t);

}  // namespace flyball::cuda

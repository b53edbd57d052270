#include "kernels/sgd.h"

#include "kernels/cuda/chunks.cuh"
#include "kernels/cuda/gradient_sums.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vectors.cuh"

// Compiled with --fmad=false, and sums in the CPU's order: the same bits as on the CPU.
namespace flyball::cuda {
namespace {

template <class T>
constexpr int kSlots = sizeof(T) == 4 ? 4 : 2;  // of a thread at a time: loads in flight

// Worked out in f64 and rounded to T once.
template <class T>
struct Factors {
  T rate, mu, clip, weight_decay;
};

// The thread's k-th vector of a chunk: neighbours of the other threads', or where sums are taken
// those of its own lanes.
template <bool kSums>
__device__ int vector_at(int k) {
  return kSums ? first_element() + k * kLanes : 4 * (threadIdx.x + kArenaThreads * k);
}

// sums[kind][j]: of the thread's j-th lane.
template <class T, bool kSums>
__device__ void update_chunk(const SgdStep<T>& a, const Factors<T>& f, const Chunk& chunk, T* kept,
                             T (&sums)[kKinds][4]) {
  T* values = a.values + chunk.begin;
  T* momenta = a.momentum + chunk.begin;
  const T* gradients = a.gradients + chunk.begin;
  T* snapshot = kept != nullptr ? kept + chunk.begin : nullptr;
  const T weight_decay = chunk.decay ? f.weight_decay : T{0};
  const bool aligned =
      are_aligned(values, momenta, gradients) && (snapshot == nullptr || are_aligned(snapshot));
  const int64_t count = chunk.end - chunk.begin;
#pragma unroll 1
  for (int k = 0; k < kVectors && vector_at<kSums>(k) < count; k += kSlots<T>) {
    Slot slots[kSlots<T>];
    Four<T> p[kSlots<T>], m[kSlots<T>], gradient[kSlots<T>];
#pragma unroll
    for (int s = 0; s < kSlots<T>; ++s) {
      slots[s] = slot_at(vector_at<kSums>(k + s), count, aligned);
      p[s] = load(values, slots[s]);
      m[s] = load(momenta, slots[s]);
      gradient[s] = load(gradients, slots[s]);
    }
#pragma unroll
    for (int s = 0; s < kSlots<T>; ++s) {
      if (snapshot != nullptr) store(snapshot, slots[s], p[s]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const T clipped = gradient[s].at[j] * f.clip;
        const T g = (clipped - clipped == 0 ? clipped : T{0}) + weight_decay * p[s].at[j];
        const T before = m[s].at[j];
        const T momentum = f.mu * before + g;
        m[s].at[j] = momentum;
        p[s].at[j] -= f.rate * momentum;
        if constexpr (kSums) {  // beyond the chunk's end g and `before` are 0
          sums[0][j] += g * before;
          sums[1][j] += g * g;
          sums[2][j] += before * before;
        }
      }
      store(momenta, slots[s], m[s]);
      store(values, slots[s], p[s]);
    }
  }
}

template <class T>
__device__ void roll_back_chunk(const SgdStep<T>& a, const Chunk& chunk) {
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += kArenaThreads) {
    if (a.snapshot != nullptr) a.values[i] = a.snapshot[i];
    a.momentum[i] = 0;
  }
}

// registers: <= 128
template <class T, bool kSums>
__global__ void __launch_bounds__(kArenaThreads, 2) sgd_kernel(SgdStep<T> a) {
  const StepCourse course = course_of(a.feedback);
  if (course == StepCourse::skip) return;
  const double clip = a.clip_norm > 0 ? clip_factor(a.clip_norm, *a.gradient_norm_squared) : 1;
  const Factors<T> factors = {.rate = static_cast<T>(a.feedback.state->rate),
                              .mu = static_cast<T>(a.mu),
                              .clip = static_cast<T>(clip),
                              .weight_decay = static_cast<T>(a.weight_decay)};
  T* snapshot = a.feedback.state->action == Action::kSnapshot ? a.snapshot : nullptr;
  ChunkWalker walker(a.segments, a.segment_count);
  Chunk chunk;
  for (int64_t i = blockIdx.x; walker.find(i, chunk); i += gridDim.x) {
    if (course == StepCourse::roll_back) {
      roll_back_chunk(a, chunk);
    } else {
      T sums[kKinds][4] = {};
      update_chunk<T, kSums>(a, factors, chunk, snapshot, sums);
      if constexpr (kSums) put_partial_sums(sums, a.partial_sums + kKinds * i);
    }
  }
}

}  // namespace

template <class T>
void sgd(const SgdStep<T>& a, cudaStream_t stream) {
  launch(a.partial_sums != nullptr ? sgd_kernel<T, true> : sgd_kernel<T, false>, "sgd",
         {.grid = arena_blocks(), .block = kArenaThreads}, stream, a);
}

template void sgd(const SgdStep<float>&, cudaStream_t);
template void sgd(const SgdStep<double>&, cudaStream_t);

}  // namespace flyball::cuda

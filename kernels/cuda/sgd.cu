#include "kernels/sgd.h"

#include "kernels/cuda/chunks.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vectors.cuh"

// Compiled with --fmad=false: the same bits as on the CPU.
namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;
template <class T>
constexpr int kSlots = sizeof(T) == 4 ? 4 : 2;  // of a thread at a time: loads in flight

// Worked out in f64 and rounded to T once.
template <class T>
struct Factors {
  T rate, mu, clip, weight_decay;
};

template <class T>
__device__ void update_chunk(const SgdStep<T>& a, const Factors<T>& f, const Chunk& chunk) {
  T* values = a.values + chunk.begin;
  T* momenta = a.momentum + chunk.begin;
  const T* gradients = a.gradients + chunk.begin;
  const T weight_decay = chunk.decay ? f.weight_decay : T{0};
  const bool aligned = are_aligned(values, momenta, gradients);
  const int64_t count = chunk.end - chunk.begin;
  for (int64_t at = 4 * threadIdx.x; at < count; at += 4 * kThreads * kSlots<T>) {
    Slot slots[kSlots<T>];
    Four<T> p[kSlots<T>], m[kSlots<T>], gradient[kSlots<T>];
#pragma unroll
    for (int s = 0; s < kSlots<T>; ++s) {
      slots[s] = slot_at(at + 4 * kThreads * s, count, aligned);
      p[s] = load(values, slots[s]);
      m[s] = load(momenta, slots[s]);
      gradient[s] = load(gradients, slots[s]);
    }
#pragma unroll
    for (int s = 0; s < kSlots<T>; ++s) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const T clipped = gradient[s].at[j] * f.clip;
        const T g = clipped - clipped == 0 ? clipped : T{0};
        const T momentum = f.mu * m[s].at[j] + (g + weight_decay * p[s].at[j]);
        m[s].at[j] = momentum;
        p[s].at[j] -= f.rate * momentum;
      }
      store(momenta, slots[s], m[s]);
      store(values, slots[s], p[s]);
    }
  }
}

// registers: <= 88
template <class T>
__global__ void __launch_bounds__(kThreads) sgd_kernel(SgdStep<T> a) {
  if (!is_finite(static_cast<double>(*a.feedback.loss))) return;
  const double clip = a.clip_norm > 0 ? clip_factor(a.clip_norm, *a.gradient_norm_squared) : 1;
  const Factors<T> factors = {.rate = static_cast<T>(a.feedback.state->rate),
                              .mu = static_cast<T>(a.mu),
                              .clip = static_cast<T>(clip),
                              .weight_decay = static_cast<T>(a.weight_decay)};
  ChunkWalker walker(a.segments, a.segment_count);
  Chunk chunk;
  for (int64_t i = blockIdx.x; walker.find(i, chunk); i += gridDim.x) {
    update_chunk(a, factors, chunk);
  }
}

}  // namespace

template <class T>
void sgd(const SgdStep<T>& a, cudaStream_t stream) {
  launch(sgd_kernel<T>, "sgd", {.grid = arena_blocks(), .block = kThreads}, stream, a);
}

template void sgd(const SgdStep<float>&, cudaStream_t);
template void sgd(const SgdStep<double>&, cudaStream_t);

}  // namespace flyball::cuda

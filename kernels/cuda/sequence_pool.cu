#include "kernels/sequence_pool.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sequence_length.cuh"

// Forward: a thread goes through time for one column of one sequence. Backward: a thread an
// element.
namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;

__device__ inline int64_t thread_index() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }

__device__ inline int64_t last_step(const SequencePoolShape& s, int64_t c, int64_t length) {
  return c < s.c - s.backward_columns ? length - 1 : 0;
}

// registers: <= 56
template <class T>
__global__ void __launch_bounds__(kThreads) sequence_pool_forward_kernel(SequencePoolForward<T> f) {
  const SequencePoolShape& s = f.shape;
  const int64_t i = thread_index();
  if (i >= s.batch * s.c) return;
  const int64_t length = sequence_length(f.lengths, i / s.c, s.time), step = s.batch * s.c;
  T y = 0;
  if (s.kind == SequencePool::kMean) {
#pragma unroll 8
    for (int64_t t = 0; t < length; ++t) y += f.x[t * step + i];
    y *= T{1} / static_cast<T>(length > 0 ? length : 1);
  } else if (s.kind == SequencePool::kMax) {
    int32_t winner = -1;
#pragma unroll 8
    for (int64_t t = 0; t < length; ++t) {
      const T x = f.x[t * step + i];
      if (t == 0 || x > y || x != x) {
        y = x;
        winner = static_cast<int32_t>(t);
      }
    }
    if (f.argmax != nullptr) f.argmax[i] = winner;
  } else if (length > 0) {
    y = f.x[last_step(s, i % s.c, length) * step + i];
  }
  f.y[i] = y;
}

// registers: <= 40
template <class T>
__global__ void __launch_bounds__(kThreads)
    sequence_pool_backward_kernel(SequencePoolBackward<T> g) {
  const SequencePoolShape& s = g.shape;
  const int64_t at = thread_index(), step = s.batch * s.c;
  if (at >= s.time * step) return;
  const int64_t t = at / step, i = at % step;
  const int64_t length = sequence_length(g.lengths, i / s.c, s.time);
  T dx = 0;
  if (t < length) {
    if (s.kind == SequencePool::kMean) {
      dx = g.dy[i] * (T{1} / static_cast<T>(length));
    } else if (t == (s.kind == SequencePool::kMax ? g.argmax[i] : last_step(s, i % s.c, length))) {
      dx = g.dy[i];
    }
  }
  g.dx[at] = g.accumulate ? g.dx[at] + dx : dx;
}

template <class Arguments>
void launch_for(void (*kernel)(Arguments), const char* name, int64_t count, cudaStream_t stream,
                const Arguments& arguments) {
  if (count == 0) return;
  launch(kernel, name,
         {.grid = static_cast<unsigned>(ceil_divide(count, kThreads)), .block = kThreads}, stream,
         arguments);
}

}  // namespace

template <class T>
void sequence_pool_forward(const SequencePoolForward<T>& f, cudaStream_t stream) {
  launch_for(sequence_pool_forward_kernel<T>, "sequence_pool_forward", f.shape.batch * f.shape.c,
             stream, f);
}

template <class T>
void sequence_pool_backward(const SequencePoolBackward<T>& g, cudaStream_t stream) {
  launch_for(sequence_pool_backward_kernel<T>, "sequence_pool_backward",
             g.shape.time * g.shape.batch * g.shape.c, stream, g);
}

template void sequence_pool_forward(const SequencePoolForward<float>&, cudaStream_t);
template void sequence_pool_forward(const SequencePoolForward<double>&, cudaStream_t);
template void sequence_pool_backward(const SequencePoolBackward<float>&, cudaStream_t);
template void sequence_pool_backward(const SequencePoolBackward<double>&, cudaStream_t);

}  // namespace flyball::cuda

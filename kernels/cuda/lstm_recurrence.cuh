#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/sequence_length.cuh"
#include "kernels/lstm.h"

// The part of an LSTM that goes step by step, which comes in two forms: lstm_persistent.cu and
// lstm_steps.cu.
namespace flyball::cuda {

// `saved` for one direction: [time, batch, 4 d], [time, batch, d], [time, batch, d]. Everything is
// 0 past a sequence's length, so that the step before its first one holds the state 0.
template <class T>
struct LstmSaved {
  T *gates, *cells;
  T* before;  // y of the step before
};

template <class T>
struct LstmTask {
  const int32_t* lengths = nullptr;
  const T* w_hh = nullptr;
  const T* b_hh = nullptr;  // forward only
  T* saved = nullptr;       // gates hold w_ih x + b_ih, or the activated gates in backward
  T* y = nullptr;           // forward only
  const T* dy = nullptr;    // backward only
  T* dh = nullptr;          // backward step by step: [directions, batch, d]
  T* dc = nullptr;          // the same
  LstmShape shape;

  __host__ __device__ LstmSaved<T> of(int64_t direction) const {
    const int64_t rows = shape.time * shape.batch;
    T* gates = saved + direction * rows * 6 * shape.d;
    return {gates, gates + rows * 4 * shape.d, gates + rows * 5 * shape.d};
  }
  __host__ __device__ const T* weights(int64_t direction) const {
    return w_hh + direction * 4 * shape.d * shape.d;
  }
};

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ inline double hyperbolic_tangent(double x) { return tanh(x); }
template <class T>
__device__ T sigma(T x) {
  return T{1} / (T{1} + exponential(-x));
}

// gates: z before, i, f, g, o after.
template <class T>
__device__ void lstm_cell_forward(T (&gates)[4], T c_before, T& c, T& y) {
  gates[0] = sigma(gates[0]);
  gates[1] = sigma(gates[1]);
  gates[2] = hyperbolic_tangent(gates[2]);
  gates[3] = sigma(gates[3]);
  c = gates[1] * c_before + gates[0] * gates[2];
  y = gates[3] * hyperbolic_tangent(c);
}

// gates: i, f, g, o before, dz after; dc: of the step after before, of the step before after.
template <class T>
__device__ void lstm_cell_backward(T (&gates)[4], T c_before, T c, T dh, T& dc) {
  const T i = gates[0], f = gates[1], g = gates[2], o = gates[3];
  const T tanh_c = hyperbolic_tangent(c);
  const T state = dc + dh * o * (1 - tanh_c * tanh_c);
  gates[0] = state * g * i * (1 - i);
  gates[1] = state * c_before * f * (1 - f);
  gates[2] = state * i * (1 - g * g);
  gates[3] = dh * tanh_c * o * (1 - o);
  dc = state * f;
}

// False, with nothing enqueued, where the device cannot hold the recurrent weights at once.
template <class T>
bool lstm_persistent_forward(const LstmTask<T>& task, cudaStream_t stream);
template <class T>
bool lstm_persistent_backward(const LstmTask<T>& task, cudaStream_t stream);

// A product and a cell kernel for each step. workspace: lstm_steps_workspace_bytes().
template <class T>
void lstm_steps_forward(const LstmTask<T>& task, void* workspace, cudaStream_t stream);
template <class T>
void lstm_steps_backward(const LstmTask<T>& task, void* workspace, cudaStream_t stream);
template <class T>
int64_t lstm_steps_workspace_bytes(const LstmShape& shape);

}  // namespace flyball::cuda

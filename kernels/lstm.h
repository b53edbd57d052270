#pragma once

#include <cstdint>

#include "kernels/cuda_stream.h"

namespace flyball {

// One layer of long short-term memory over whole sequences, forwards in time or in both directions.
// x: [time, batch, inputs], y: [time, batch, directions * d]; direction 1, which runs backwards in
// time, has the second d columns.
struct LstmShape {
  int64_t time = 0, batch = 0, inputs = 0, d = 0;
  int64_t directions = 1;  // 1 or 2
  int64_t columns() const { return directions * d; }
  // Numbers kept for the backward pass: gates [4 d], cell [d] and previous y [d] of each step.
  int64_t saved_count() const { return directions * time * batch * 6 * d; }
};

// i, f, g, o = sigma(z_i), sigma(z_f), tanh(z_g), sigma(z_o);  c = f c' + i g;  y = o tanh(c)
// with z = w_ih x + b_ih + w_hh y' + b_hh, and c', y' those of the step before, 0 at first.
// Hochreiter & Schmidhuber 1997, Neural Computation 9(8); forget gate: Gers et al. 2000, Neural
// Computation 12(10). Gates in the order i, f, g, o.
// w_ih: [directions, 4 d, inputs], w_hh: [directions, 4 d, d], b_ih, b_hh: [directions, 4 d] or
// null. lengths: [batch], in device memory, or null where every sequence has all `time` steps; a
// length outside [0, time] counts as the nearer of the two. Steps past a sequence's length are read
// by nobody, so that x may hold anything there; y is 0 there. Direction 1 starts at each sequence's
// own last step. A larger `time` with the same lengths gives the same bits.
// Sums in T. CPU: sigma and tanh of f32 are within 2^-22 of the exact ones, those of f64 are
// std::exp's and std::tanh's. saved: what lstm_backward of the same device reads, in an order of
// its own; null when no backward pass follows. No operands alias.
template <class T>
struct LstmForward {
  const T* x = nullptr;
  const int32_t* lengths = nullptr;
  const T *w_ih = nullptr, *w_hh = nullptr;
  const T *b_ih = nullptr, *b_hh = nullptr;
  T* y = nullptr;
  T* saved = nullptr;
  LstmShape shape;
  void* workspace = nullptr;  // CUDA only: lstm_forward_workspace_bytes(), 16-byte aligned
};

// Where a gradient goes: `=` or, with accumulate, `+=`; null: not wanted.
template <class T>
struct LstmGradient {
  T* to = nullptr;
  bool accumulate = false;
};

// Back through time. dy at steps past a length is ignored, dx is 0 (or unchanged) there. b_ih and
// b_hh have the same gradient. `saved` is overwritten: one backward pass for each forward pass.
template <class T>
struct LstmBackward {
  const T* x = nullptr;
  const int32_t* lengths = nullptr;
  const T *w_ih = nullptr, *w_hh = nullptr;
  const T* dy = nullptr;
  T* saved = nullptr;
  LstmGradient<T> dx, dw_ih, dw_hh, db_ih, db_hh;
  LstmShape shape;
  void* workspace = nullptr;  // CUDA only: lstm_backward_workspace_bytes(), 16-byte aligned
};

namespace cpu {
template <class T>
void lstm_forward(const LstmForward<T>&);
template <class T>
void lstm_backward(const LstmBackward<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void lstm_forward(const LstmForward<T>&, cudaStream_t);
template <class T>
void lstm_backward(const LstmBackward<T>&, cudaStream_t);
template <class T>
int64_t lstm_forward_workspace_bytes(const LstmForward<T>&);
template <class T>
int64_t lstm_backward_workspace_bytes(const LstmBackward<T>&);
}  // namespace cuda

// What run() allocates.
template <class T>
int64_t workspace_bytes(const LstmForward<T>& arguments) {
  return cuda::lstm_forward_workspace_bytes(arguments);
}
template <class T>
int64_t workspace_bytes(const LstmBackward<T>& arguments) {
  return cuda::lstm_backward_workspace_bytes(arguments);
}

}  // namespace flyball

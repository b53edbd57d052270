#include "kernels/cpu/lstm_gates.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/simd.h"

// Sixteen f32 elements at a time with sigma and tanh of our own; f64 one by one with the exact
// ones. What is left of a row behind the last sixteen goes through a buffer of sixteen.
namespace flyball::cpu {
namespace {

constexpr int64_t kWidth = 16;
using Floats = float __attribute__((vector_size(kWidth * sizeof(float))));
using Bits = uint32_t __attribute__((vector_size(kWidth * sizeof(uint32_t))));

// y = 2^n p(r) with x = n ln 2 + r, |r| <= ln 2 / 2 and p the Taylor polynomial of degree 7
// (relative error below 6e-9 before rounding). x is clamped to [-87, 87], where y is normal.
FLYBALL_INLINE void exp_of(const Floats& at, Floats& y) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;  // high * n is exact
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const Floats most = at - at + 87.0F;   // NaN for NaN
  Floats x = at > most ? most : at;
  x = x < -most ? -most : x;
  const Floats shifted = x * kLog2E + kRound;
  const Floats n = shifted - kRound;
  const Floats r = (x - n * kLn2High) - n * kLn2Low;
  Floats p = r * (1.0F / 5040) + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  // The low bits of `shifted` hold n; in the exponent they scale by 2^n.
  Bits exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  exponent = (exponent + 127U) << 23;
  Floats scale;
  std::memcpy(&scale, &exponent, sizeof scale);
  y = p * scale;
}

// sigma(x) = 1 / (1 + exp(-x))
FLYBALL_INLINE void sigma(const Floats& x, Floats& y) {
  Floats e;
  exp_of(-x, e);
  y = 1.0F / (1.0F + e);
}

// tanh(x) = (1 - e) / (1 + e) with e = exp(-2 x), which cancels near 0: there the Taylor polynomial
// of degree 9 (relative error below 3e-8 for |x| < 0.3).
FLYBALL_INLINE void tanh_of(const Floats& x, Floats& y) {
  Floats e;
  exp_of(-2.0F * x, e);
  const Floats far = (1.0F - e) / (1.0F + e);
  const Floats s = x * x;
  Floats p = s * (62.0F / 2835) - 17.0F / 315;
  p = p * s + 2.0F / 15;
  p = p * s - 1.0F / 3;
  const Floats near = x + x * s * p;
  y = s < 0.09F ? near : far;
}

FLYBALL_INLINE void sigma(const double& x, double& y) { y = 1 / (1 + std::exp(-x)); }
FLYBALL_INLINE void tanh_of(const double& x, double& y) { y = std::tanh(x); }

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  using Type = Floats;
  static constexpr int64_t kCount = kWidth;
};
template <>
struct Lanes<double> {
  using Type = double;
  static constexpr int64_t kCount = 1;
};

// x[0 .. count - 1], the other lanes 0; null: zeros.
template <class T>
FLYBALL_INLINE void load(const T* x, int64_t count, typename Lanes<T>::Type& v) {
  if (x != nullptr && count == Lanes<T>::kCount) {
    std::memcpy(&v, x, sizeof v);
  } else {
    v = typename Lanes<T>::Type{};
    if (x != nullptr) std::memcpy(&v, x, static_cast<size_t>(count) * sizeof(T));
  }
}

template <class T>
FLYBALL_INLINE void store(T* x, int64_t count, const typename Lanes<T>::Type& v) {
  if (count == Lanes<T>::kCount) {
    std::memcpy(x, &v, sizeof v);
  } else {
    std::memcpy(x, &v, static_cast<size_t>(count) * sizeof(T));
  }
}

template <class T>
FLYBALL_INLINE void forward_lanes(const LstmCellForward<T>& cell, int64_t d, int64_t j,
                                  int64_t count) {
  typename Lanes<T>::Type z, i, f, g, o, c, y;
  T* gates = cell.gates + j;
  load(gates, count, z);
  sigma(z, i);
  load(gates + 2 * d, count, z);
  tanh_of(z, g);
  load(gates + 3 * d, count, z);
  sigma(z, o);
  load(gates + d, count, z);
  sigma(z, f);
  if (cell.c_before != nullptr) {
    load(cell.c_before + j, count, c);
    c = f * c + i * g;
  } else {
    c = i * g;
  }
  tanh_of(c, y);
  y = o * y;
  store(gates, count, i);
  store(gates + d, count, f);
  store(gates + 2 * d, count, g);
  store(gates + 3 * d, count, o);
  store(cell.c + j, count, c);
  store(cell.y + j, count, y);
  if (cell.y_copy != nullptr) store(cell.y_copy + j, count, y);
}

template <class T>
FLYBALL_INLINE void backward_lanes(const LstmCellBackward<T>& cell, int64_t d, int64_t j,
                                   int64_t count) {
  typename Lanes<T>::Type i, f, g, o, c, before, tanh_c, dh, state;
  T* gates = cell.gates + j;
  load(gates, count, i);
  load(gates + d, count, f);
  load(gates + 2 * d, count, g);
  load(gates + 3 * d, count, o);
  load(cell.c + j, count, c);
  load(cell.c_before == nullptr ? nullptr : cell.c_before + j, count, before);
  load(cell.dy + j, count, dh);
  tanh_of(c, tanh_c);
  if (cell.last) {
    state = dh * o * (1 - tanh_c * tanh_c);
  } else {
    typename Lanes<T>::Type next;
    load(cell.dh_next + j, count, next);
    dh = dh + next;
    load(cell.dc + j, count, next);
    state = next + dh * o * (1 - tanh_c * tanh_c);
  }
  store(gates, count, state * g * i * (1 - i));
  store(gates + d, count, state * before * f * (1 - f));
  store(gates + 2 * d, count, state * i * (1 - g * g));
  store(gates + 3 * d, count, dh * tanh_c * o * (1 - o));
  store(cell.dc + j, count, state * f);
}

template <class T>
FLYBALL_INLINE void forward_row(const LstmCellForward<T>& cell, int64_t d) {
  constexpr int64_t kCount = Lanes<T>::kCount;
  int64_t j = 0;
  for (; j + kCount <= d; j += kCount) forward_lanes(cell, d, j, kCount);
  if (j < d) forward_lanes(cell, d, j, d - j);
}

template <class T>
FLYBALL_INLINE void backward_row(const LstmCellBackward<T>& cell, int64_t d) {
  constexpr int64_t kCount = Lanes<T>::kCount;
  int64_t j = 0;
  for (; j + kCount <= d; j += kCount) backward_lanes(cell, d, j, kCount);
  if (j < d) backward_lanes(cell, d, j, d - j);
}

}  // namespace

template <>
FLYBALL_SIMD void lstm_cell_forward(const LstmCellForward<float>& cell, int64_t d) {
  forward_row(cell, d);
}
template <>
void lstm_cell_forward(const LstmCellForward<double>& cell, int64_t d) {
  forward_row(cell, d);
}
template <>
FLYBALL_SIMD void lstm_cell_backward(const LstmCellBackward<float>& cell, int64_t d) {
  backward_row(cell, d);
}
template <>
void lstm_cell_backward(const LstmCellBackward<double>& cell, int64_t d) {
  backward_row(cell, d);
}

}  // namespace flyball::cpu

#pragma once

#include "kernels/cpu/simd.h"

// The matrices of Winograd's F(4x4, 3x3) (Lavin & Gray 2015, arXiv:1509.09308, section 4.3), times
// a column of vectors:
//   B^T = | 4  0 -5  0  1  0 |    G = |  1/4     0     0  |    A^T = | 1  1  1  1  1  0 |
//         | 0 -4 -4  1  1  0 |        | -1/6  -1/6  -1/6  |          | 0  1 -1  2 -2  0 |
//         | 0  4 -4 -1  1  0 |        | -1/6   1/6  -1/6  |          | 0  1  1  4  4  0 |
//         | 0 -2 -1  2  1  0 |        | 1/24  1/12   1/6  |          | 0  1 -1  8 -8  1 |
//         | 0  2 -1 -2  1  0 |        | 1/24 -1/12   1/6  |
//         | 0  4  0 -5  0  1 |        |    0     0     1  |
namespace flyball::cpu::winograd {

// y = B^T x
struct DataTransform {
  static constexpr int kIn = 6, kOut = 6;
  template <class V>
  FLYBALL_INLINE static void apply(const V* x, V* y) {
    const V a = x[4] - 4.0F * x[2], b = x[3] - 4.0F * x[1];
    const V c = x[4] - x[2], d = 2.0F * (x[3] - x[1]);
    y[0] = 4.0F * x[0] + (x[4] - 5.0F * x[2]);
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = 4.0F * x[1] + (x[5] - 5.0F * x[3]);
  }
};

// y = G x
struct FilterTransform {
  static constexpr int kIn = 3, kOut = 6;
  template <class V>
  FLYBALL_INLINE static void apply(const V* x, V* y) {
    const V a = (-1.0F / 6) * (x[0] + x[2]), b = (1.0F / 6) * x[1];
    const V c = (1.0F / 24) * x[0] + (1.0F / 6) * x[2], d = (1.0F / 12) * x[1];
    y[0] = 0.25F * x[0];
    y[1] = a - b;
    y[2] = a + b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = x[2];
  }
};

// y = A^T x
struct OutputTransform {
  static constexpr int kIn = 6, kOut = 4;
  template <class V>
  FLYBALL_INLINE static void apply(const V* x, V* y) {
    const V a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = x[3] - x[4];
    y[0] = x[0] + a + c;
    y[1] = b + 2.0F * d;
    y[2] = a + 4.0F * c;
    y[3] = b + 8.0F * d + x[5];
  }
};

// y = A x
struct GradientTransform {
  static constexpr int kIn = 4, kOut = 6;
  template <class V>
  FLYBALL_INLINE static void apply(const V* x, V* y) {
    const V a = x[0] + x[2], b = x[1] + x[3];
    const V c = x[0] + 4.0F * x[2], d = 2.0F * x[1] + 8.0F * x[3];
    y[0] = x[0];
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = x[3];
  }
};

// y = G^T x
struct FilterGradientTransform {
  static constexpr int kIn = 6, kOut = 3;
  template <class V>
  FLYBALL_INLINE static void apply(const V* x, V* y) {
    const V a = x[1] + x[2], b = x[2] - x[1], c = x[3] + x[4], d = x[3] - x[4];
    y[0] = 0.25F * x[0] - (1.0F / 6) * a + (1.0F / 24) * c;
    y[1] = (1.0F / 6) * b + (1.0F / 12) * d;
    y[2] = (1.0F / 6) * (c - a) + x[5];
  }
};

// y = T x T^T for the matrix T of a transform; x: [kIn, kIn], y: [kOut, kOut].
template <class Transform, class V>
FLYBALL_INLINE void transform_both_axes(const V* x, V* y) {
  constexpr int kIn = Transform::kIn, kOut = Transform::kOut;
  V half[kOut * kIn];
#pragma GCC unroll 6
  for (int j = 0; j < kIn; ++j) {
    V from[kIn], to[kOut];
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) from[i] = x[i * kIn + j];
    Transform::apply(from, to);
#pragma GCC unroll 6
    for (int i = 0; i < kOut; ++i) half[i * kIn + j] = to[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < kOut; ++i) Transform::apply(half + i * kIn, y + i * kOut);
}

}  // namespace flyball::cpu::winograd

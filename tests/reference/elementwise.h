#pragma once

#include "kernels/elementwise.h"

// The formulas of kernels/elementwise.h as plain loops in double.
namespace flyball::reference {

inline void fill(const Fill<double>& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    a.x[i] = (a.accumulate ? a.x[i] : 0) + a.value * (a.factor != nullptr ? *a.factor : 1);
  }
}

inline void scale(const Scale<double>& a) {
  const double alpha = a.alpha_pointer != nullptr ? *a.alpha_pointer : a.alpha;
  for (int64_t i = 0; i < a.count; ++i) {
    a.y[i] = (a.accumulate ? a.y[i] : 0) + alpha * a.x[i];
  }
}

inline void add(const Add<double>& a) {
  for (int64_t i = 0; i < a.count; ++i) a.y[i] = a.a[i] + a.b[i];
}

inline void multiply(const Multiply<double>& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    a.y[i] = (a.accumulate ? a.y[i] : 0) + a.a[i] * a.b[i];
  }
}

inline void relu_forward(const ReluForward<double>& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    if (a.x[i] < 0) {
      a.y[i] = 0;
    } else {
      a.y[i] = a.x[i];
    }
  }
}

inline void relu_backward(const ReluBackward<double>& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    const double gradient = a.y[i] > 0 ? a.dy[i] : 0;
    a.dx[i] = (a.accumulate ? a.dx[i] : 0) + gradient;
  }
}

inline void bias_relu_backward(const BiasReluBackward<double>& a) {
  for (int64_t i = 0; i < a.rows * a.columns; ++i) a.dz[i] = a.y[i] > 0 ? a.dy[i] : 0;
  if (a.dbias == nullptr) return;
  for (int64_t column = 0; column < a.columns; ++column) {
    double sum = a.accumulate_dbias ? a.dbias[column] : 0;
    for (int64_t row = 0; row < a.rows; ++row) sum += a.dz[row * a.columns + column];
    a.dbias[column] = sum;
  }
}

}  // namespace flyball::reference

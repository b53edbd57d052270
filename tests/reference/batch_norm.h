#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/batch_norm.h"

namespace flyball::reference {

struct ColumnStatistics {
  double mean = 0, squares = 0;  // squares: the sum of squared deviations from the mean
};

// Of column j, from x or, where they are given, from its tiles' sums.
inline ColumnStatistics column_statistics(const BatchNormForward<double>& f, int64_t j) {
  ColumnStatistics s;
  if (f.column_sums == nullptr) {
    for (int64_t i = 0; i < f.rows; ++i) s.mean += f.x[i * f.c + j];
    s.mean /= static_cast<double>(f.rows);
    for (int64_t i = 0; i < f.rows; ++i) s.squares += std::pow(f.x[i * f.c + j] - s.mean, 2);
    return s;
  }
  for (int64_t row = 0; row < f.rows; row += kColumnSumRows) {
    const double* sums = f.column_sums + row / kColumnSumRows * 2 * f.c;
    const auto before = static_cast<double>(row);
    const auto count = static_cast<double>(std::min<int64_t>(kColumnSumRows, f.rows - row));
    const double delta = sums[j] / count - s.mean;
    s.mean += delta * count / (before + count);
    s.squares += sums[f.c + j] + delta * delta * before * count / (before + count);
  }
  return s;
}

inline double normalized(double x, double mean, double inv_std, double gamma, double beta,
                         const double* residual, bool relu) {
  const double y = gamma * (x - mean) * inv_std + beta + (residual != nullptr ? *residual : 0);
  return relu && y < 0 ? 0 : y;
}

inline void batch_norm_forward(const BatchNormForward<double>& f) {
  const auto rows = static_cast<double>(f.rows);
  for (int64_t j = 0; j < f.c; ++j) {
    const ColumnStatistics s = column_statistics(f, j);
    f.mean[j] = s.mean;
    f.inv_std[j] = 1 / std::sqrt(s.squares / rows + f.eps);
    if (f.running_mean != nullptr && std::isfinite(s.squares)) {
      f.running_mean[j] = (1 - f.momentum) * f.running_mean[j] + f.momentum * s.mean;
      f.running_var[j] = (1 - f.momentum) * f.running_var[j] + f.momentum * s.squares / (rows - 1);
    }
    for (int64_t i = j; i < f.rows * f.c; i += f.c) {
      f.y[i] = normalized(f.x[i], f.mean[j], f.inv_std[j], f.gamma[j], f.beta[j],
                          f.residual != nullptr ? f.residual + i : nullptr, f.relu);
    }
  }
}

inline void batch_norm_apply(const BatchNormApply<double>& f) {
  for (int64_t i = 0; i < f.rows * f.c; ++i) {
    const int64_t j = i % f.c;
    const double inv_std = f.inv_std != nullptr ? f.inv_std[j] : 1 / std::sqrt(f.var[j] + f.eps);
    f.y[i] = normalized(f.x[i], f.mean[j], inv_std, f.gamma[j], f.beta[j],
                        f.residual != nullptr ? f.residual + i : nullptr, f.relu);
  }
}

inline void put(double* to, bool accumulate, double value) {
  if (to != nullptr) *to = accumulate ? *to + value : value;
}

inline double masked(const BatchNormBackward<double>& b, int64_t i) {
  if (b.y != nullptr) return b.y[i] > 0 ? b.dy[i] : 0;
  if (b.beta == nullptr) return b.dy[i];
  const int64_t j = i % b.c;
  const double y =
      normalized(b.x[i], b.mean[j], b.inv_std[j], b.gamma[j], b.beta[j], nullptr, false);
  return y > 0 ? b.dy[i] : 0;
}

inline void batch_norm_backward(const BatchNormBackward<double>& b) {
  const auto rows = static_cast<double>(b.rows);
  for (int64_t j = 0; j < b.c; ++j) {
    const auto h = [&](int64_t i) { return (b.x[i] - b.mean[j]) * b.inv_std[j]; };
    double dbeta = 0, dgamma = 0;
    for (int64_t i = j; i < b.rows * b.c; i += b.c) {
      dbeta += masked(b, i);
      dgamma += masked(b, i) * h(i);
    }
    put(b.dbeta + (b.dbeta != nullptr ? j : 0), b.accumulate_dbeta, dbeta);
    put(b.dgamma + (b.dgamma != nullptr ? j : 0), b.accumulate_dgamma, dgamma);
    for (int64_t i = j; i < b.rows * b.c; i += b.c) {
      const double dx =
          b.gamma[j] * b.inv_std[j] * (masked(b, i) - dbeta / rows - h(i) * dgamma / rows);
      if (b.dx != nullptr) put(b.dx + i, b.accumulate_dx, dx);
      if (b.dresidual != nullptr) put(b.dresidual + i, b.accumulate_dresidual, masked(b, i));
    }
  }
}

}  // namespace flyball::reference

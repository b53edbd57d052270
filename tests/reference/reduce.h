#pragma once

#include <cmath>

#include "kernels/reduce.h"

// The sums of kernels/reduce.h from the first element to the last.
namespace flyball::reference {

inline void reduce_sum(const ReduceSum<double>& a) {
  double sum = 0;
  for (int64_t i = 0; i < a.count; ++i) sum += a.x[i];
  a.y[0] = (a.accumulate ? a.y[0] : 0) + a.alpha * sum;
}

inline void reduce_rows(const ReduceRows<double>& a) {
  for (int64_t column = 0; column < a.columns; ++column) {
    double sum = a.accumulate ? a.y[column] : 0;
    for (int64_t row = 0; row < a.rows; ++row) sum += a.x[row * a.columns + column];
    a.y[column] = sum;
  }
}

inline void sum_of_squares(const SumOfSquares<double>& a) {
  double sum = 0;
  for (int64_t i = 0; i < a.count; ++i) {
    if (std::isfinite(a.x[i])) sum += a.x[i] * a.x[i];
  }
  *a.y = a.accumulate ? *a.y + sum : sum;
}

}  // namespace flyball::reference

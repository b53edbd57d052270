#include <algorithm>

#include "kernels/batch_norm.h"
#include "kernels/cpu/row_tiles.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"

// Two passes over the rows, as forward: the sums of tiles, added in order on one thread; dx and
// dresidual.
namespace flyball::cpu {
namespace {

// What tells whether the ReLU let an element through.
enum class Gate { none, y, x };

template <class T>
Gate gate_of(const BatchNormBackward<T>& b) {
  if (b.y != nullptr) return Gate::y;
  return b.beta != nullptr ? Gate::x : Gate::none;
}

// dz of an element. centred: x - mean; scale: gamma * inv_std.
template <Gate kGate, class T>
FLYBALL_INLINE T gated(T dy, T y, T centred, T scale, T beta) {
  if (kGate == Gate::none) return dy;
  return (kGate == Gate::y ? y : centred * scale + beta) > 0 ? dy : T(0);
}

template <class T>
struct BackwardSumsPass {
  const BatchNormBackward<T>& operation;
  const T* scale;
  T* sums;
};

// The sums of a tile's dz and of dz * (x - mean).
template <Gate kGate, class T>
FLYBALL_INLINE void sum_backward_tile(const BackwardSumsPass<T>& pass, int64_t first, int64_t rows,
                                      T* __restrict sums, T* __restrict products) {
  const BatchNormBackward<T>& b = pass.operation;
  const int64_t c = b.c;
  const T* __restrict mean = b.mean, * __restrict scale = pass.scale;
  const T* __restrict beta = kGate == Gate::x ? b.beta : mean;
  std::fill_n(sums, c, T(0));
  std::fill_n(products, c, T(0));
  int64_t i = 0;
  for (; i + 2 <= rows; i += 2) {
    const int64_t at = (first + i) * c;
    const T* __restrict x = b.x + at, * __restrict dy = b.dy + at;
    const T* __restrict y = kGate == Gate::y ? b.y + at : dy;
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) {
      const T d0 = x[j] - mean[j], d1 = x[c + j] - mean[j];
      const T dz0 = gated<kGate>(dy[j], y[j], d0, scale[j], beta[j]);
      const T dz1 = gated<kGate>(dy[c + j], y[c + j], d1, scale[j], beta[j]);
      sums[j] += dz0 + dz1;
      products[j] += dz0 * d0 + dz1 * d1;
    }
  }
  if (i == rows) return;
  const int64_t at = (first + i) * c;
#pragma GCC ivdep
  for (int64_t j = 0; j < c; ++j) {
    const T d = b.x[at + j] - mean[j];
    const T y = kGate == Gate::y ? b.y[at + j] : T(0);
    const T dz = gated<kGate>(b.dy[at + j], y, d, scale[j], beta[j]);
    sums[j] += dz;
    products[j] += dz * d;
  }
}

template <Gate kGate, class T>
FLYBALL_INLINE void sum_backward_range(const BackwardSumsPass<T>& pass, const RowRange& range) {
  const int64_t c = pass.operation.c;
  for (int64_t row = range.begin; row < range.end; row += kColumnSumRows) {
    T* sums = pass.sums + row / kColumnSumRows * 2 * c;
    sum_backward_tile<kGate>(pass, row, rows_of_tile(row, range.end), sums, sums + c);
  }
}

template <class T>
FLYBALL_INLINE void range_body(const BackwardSumsPass<T>& pass, const RowRange& range) {
  switch (gate_of(pass.operation)) {
    case Gate::none:
      return sum_backward_range<Gate::none>(pass, range);
    case Gate::y:
      return sum_backward_range<Gate::y>(pass, range);
    case Gate::x:
      return sum_backward_range<Gate::x>(pass, range);
  }
}

// dx (+)= scale * dz + slope * (x - mean) + offset, which is dx of batch_norm.h.
template <class T>
struct BackwardApplyPass {
  const BatchNormBackward<T>& operation;
  const T *scale, *slope, *offset;
};

template <Gate kGate, class T>
FLYBALL_INLINE void backward_row(const BackwardApplyPass<T>& pass, int64_t row) {
  const BatchNormBackward<T>& b = pass.operation;
  const int64_t c = b.c, at = row * c;
  const T* __restrict x = b.x + at, * __restrict dy = b.dy + at;
  const T* __restrict y = kGate == Gate::y ? b.y + at : dy;
  const T* __restrict mean = b.mean, * __restrict scale = pass.scale;
  const T* __restrict slope = pass.slope, * __restrict offset = pass.offset;
  const T* __restrict beta = kGate == Gate::x ? b.beta : mean;
  const auto dz = [&](int64_t j) {
    return gated<kGate>(dy[j], y[j], x[j] - mean[j], scale[j], beta[j]);
  };
  if (b.dresidual != nullptr) {
    T* __restrict dresidual = b.dresidual + at;
    if (b.accumulate_dresidual) {
#pragma GCC ivdep
      for (int64_t j = 0; j < c; ++j) dresidual[j] += dz(j);
    } else {
#pragma GCC ivdep
      for (int64_t j = 0; j < c; ++j) dresidual[j] = dz(j);
    }
  }
  if (b.dx == nullptr) return;
  T* __restrict dx = b.dx + at;
  const auto gradient = [&](int64_t j) {
    return scale[j] * dz(j) + (slope[j] * (x[j] - mean[j]) + offset[j]);
  };
  if (b.accumulate_dx) {
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) dx[j] += gradient(j);
  } else {
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) dx[j] = gradient(j);
  }
}

template <Gate kGate, class T>
FLYBALL_INLINE void backward_rows(const BackwardApplyPass<T>& pass, const RowRange& range) {
  for (int64_t row = range.begin; row < range.end; ++row) backward_row<kGate>(pass, row);
}

template <class T>
FLYBALL_INLINE void range_body(const BackwardApplyPass<T>& pass, const RowRange& range) {
  switch (gate_of(pass.operation)) {
    case Gate::none:
      return backward_rows<Gate::none>(pass, range);
    case Gate::y:
      return backward_rows<Gate::y>(pass, range);
    case Gate::x:
      return backward_rows<Gate::x>(pass, range);
  }
}

FLYBALL_SIMD void run_range(const BackwardSumsPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
FLYBALL_SIMD void run_range(const BackwardApplyPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
void run_range(const auto& pass, const RowRange& range) { range_body(pass, range); }

template <class Pass>
void run(const Pass& pass, RangeOrder order) {
  for_row_ranges(pass.operation.rows, pass.operation.c, order,
                 [&](const RowRange& range) { run_range(pass, range); });
}

// The sums of all tiles, in order: [2, c].
template <class T>
void add_tiles(const T* sums, int64_t rows, int64_t c, double* __restrict totals) {
  std::fill_n(totals, 2 * c, 0.0);
  for (int64_t tile = 0; tile < tiles_of(rows); ++tile) {
    const T* __restrict sum = sums + tile * 2 * c;
    for (int64_t j = 0; j < 2 * c; ++j) totals[j] += static_cast<double>(sum[j]);
  }
}

template <class T>
void put(T* to, bool accumulate, double value) {
  *to = static_cast<T>(accumulate ? static_cast<double>(*to) + value : value);
}

}  // namespace

template <class T>
void batch_norm_backward(const BatchNormBackward<T>& b) {
  const int64_t rows = b.rows, c = b.c;
  T* scale = scratch<Coefficients, T>(3 * c);
  for (int64_t j = 0; j < c; ++j) scale[j] = b.gamma[j] * b.inv_std[j];
  T* sums = scratch<TileSums, T>(tiles_of(rows) * 2 * c);
  run(BackwardSumsPass<T>{b, scale, sums}, kFirstFirst);
  double* totals = scratch<Totals, double>(2 * c);
  add_tiles(sums, rows, c, totals);
  T *slope = scale + c, *offset = scale + 2 * c;
  const auto count = static_cast<double>(rows);
  for (int64_t j = 0; j < c; ++j) {
    const auto inv_std = static_cast<double>(b.inv_std[j]);
    const double dbeta = totals[j], dgamma = totals[c + j] * inv_std;
    if (b.dbeta != nullptr) put(b.dbeta + j, b.accumulate_dbeta, dbeta);
    if (b.dgamma != nullptr) put(b.dgamma + j, b.accumulate_dgamma, dgamma);
    const double factor = static_cast<double>(b.gamma[j]) * inv_std;
    slope[j] = static_cast<T>(-factor * inv_std * dgamma / count);
    offset[j] = static_cast<T>(-factor * dbeta / count);
  }
  if (b.dx == nullptr && b.dresidual == nullptr) return;
  run(BackwardApplyPass<T>{b, scale, slope, offset}, kLastFirst);
}

template void batch_norm_backward(const BatchNormBackward<float>&);
template void batch_norm_backward(const BatchNormBackward<double>&);

}  // namespace flyball::cpu

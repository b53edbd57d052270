#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"

// Two passes each: the first leaves two sums of every tile of kColumnSumRows rows and every
// channel, [tiles, 2, c], which are merged in order on one thread; the second applies.
namespace flyball::cpu {
namespace {

struct RowRange {
  int64_t begin, end;
};

// Calls body(range) for ranges of whole tiles, on any thread and in any order; backwards: the last
// ones first, as what the pass before has read last is still in a cache.
template <class Body>
void for_row_ranges(int64_t rows, int64_t c, bool backwards, Body&& body) {
  const int64_t tile_values = kColumnSumRows * c;
  const int64_t range_rows =
      (kPieceElements + tile_values - 1) / tile_values * int64_t{kColumnSumRows};
  const int64_t ranges = (rows + range_rows - 1) / range_rows;
  parallel_for(ranges, [&](int64_t i) {
    const int64_t range = backwards ? ranges - 1 - i : i;
    body(RowRange{range * range_rows, std::min((range + 1) * range_rows, rows)});
  });
}

int64_t tiles_of(int64_t rows) { return (rows + kColumnSumRows - 1) / kColumnSumRows; }
FLYBALL_INLINE int64_t rows_of_tile(int64_t first, int64_t rows) {
  return std::min<int64_t>(kColumnSumRows, rows - first);
}

template <class T>
struct StatisticsPass {
  const BatchNormForward<T>& operation;
  T* sums;
};

// The sum of a tile's rows and of their squared deviations from its mean, by way of differences to
// its first row: with d = x - x_0, squares = sum d^2 - (sum d)^2 / rows. As x_0 is one of the rows,
// sum d^2 is at most (rows + 1) * squares: the subtraction costs a factor of kColumnSumRows + 1 at
// worst, whatever the mean.
template <class T>
FLYBALL_INLINE void sum_tile(const T* __restrict x, int64_t rows, int64_t c, T* __restrict sums,
                             T* __restrict squares) {
  const T* __restrict first = x;
  std::fill_n(sums, c, T(0));
  std::fill_n(squares, c, T(0));
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    const T* __restrict row = x + i * c;
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) {
      const T d0 = row[j] - first[j], d1 = row[c + j] - first[j];
      const T d2 = row[2 * c + j] - first[j], d3 = row[3 * c + j] - first[j];
      sums[j] += (d0 + d1) + (d2 + d3);
      squares[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
  for (; i < rows; ++i) {
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) {
      const T d = x[i * c + j] - first[j];
      sums[j] += d;
      squares[j] += d * d;
    }
  }
  const T count = static_cast<T>(rows);
#pragma GCC ivdep
  for (int64_t j = 0; j < c; ++j) {
    const T rest = squares[j] - sums[j] * sums[j] / count;
    squares[j] = rest > 0 || rest != rest ? rest : T(0);
    sums[j] += count * first[j];
  }
}

template <class T>
FLYBALL_INLINE void range_body(const StatisticsPass<T>& pass, const RowRange& range) {
  const int64_t c = pass.operation.c;
  for (int64_t row = range.begin; row < range.end; row += kColumnSumRows) {
    T* sums = pass.sums + row / kColumnSumRows * 2 * c;
    sum_tile(pass.operation.x + row * c, rows_of_tile(row, range.end), c, sums, sums + c);
  }
}

// y = relu?((x - mean) * scale + beta + residual?)
template <class T>
struct ApplyPass {
  const T *x, *residual, *mean, *scale, *beta;
  T* y;
  int64_t c;
  bool relu;
};

template <bool kRelu, bool kResidual, class T>
FLYBALL_INLINE void apply_row(const ApplyPass<T>& a, int64_t row) {
  const T* __restrict x = a.x + row * a.c;
  const T* __restrict residual = kResidual ? a.residual + row * a.c : nullptr;
  const T* __restrict mean = a.mean, * __restrict scale = a.scale, * __restrict beta = a.beta;
  T* __restrict y = a.y + row * a.c;
#pragma GCC ivdep
  for (int64_t j = 0; j < a.c; ++j) {
    T value = (x[j] - mean[j]) * scale[j] + beta[j];
    if (kResidual) value += residual[j];
    y[j] = kRelu && value < 0 ? T(0) : value;
  }
}

template <bool kRelu, bool kResidual, class T>
FLYBALL_INLINE void apply_rows(const ApplyPass<T>& a, const RowRange& range) {
  for (int64_t row = range.begin; row < range.end; ++row) apply_row<kRelu, kResidual>(a, row);
}

template <class T>
FLYBALL_INLINE void range_body(const ApplyPass<T>& a, const RowRange& range) {
  if (a.relu) {
    a.residual != nullptr ? apply_rows<true, true>(a, range) : apply_rows<true, false>(a, range);
  } else {
    a.residual != nullptr ? apply_rows<false, true>(a, range) : apply_rows<false, false>(a, range);
  }
}

template <class T>
struct BackwardSumsPass {
  const BatchNormBackward<T>& operation;
  T* sums;
};

template <bool kRelu, class T>
FLYBALL_INLINE T masked(T y, T dy) {
  return !kRelu || y > 0 ? dy : T(0);
}

// The sums of a tile's dz and of dz * (x - mean).
template <bool kRelu, class T>
FLYBALL_INLINE void sum_backward_tile(const BatchNormBackward<T>& b, int64_t first, int64_t rows,
                                      T* __restrict sums, T* __restrict products) {
  const int64_t c = b.c;
  const T* __restrict mean = b.mean;
  std::fill_n(sums, c, T(0));
  std::fill_n(products, c, T(0));
  int64_t i = 0;
  for (; i + 2 <= rows; i += 2) {
    const int64_t at = (first + i) * c;
    const T* __restrict x = b.x + at, * __restrict dy = b.dy + at;
    const T* __restrict y = kRelu ? b.y + at : dy;
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) {
      const T dz0 = masked<kRelu>(y[j], dy[j]), dz1 = masked<kRelu>(y[c + j], dy[c + j]);
      sums[j] += dz0 + dz1;
      products[j] += dz0 * (x[j] - mean[j]) + dz1 * (x[c + j] - mean[j]);
    }
  }
  if (i == rows) return;
  const int64_t at = (first + i) * c;
#pragma GCC ivdep
  for (int64_t j = 0; j < c; ++j) {
    const T dz = masked<kRelu>(kRelu ? b.y[at + j] : T(0), b.dy[at + j]);
    sums[j] += dz;
    products[j] += dz * (b.x[at + j] - mean[j]);
  }
}

template <class T>
FLYBALL_INLINE void range_body(const BackwardSumsPass<T>& pass, const RowRange& range) {
  const BatchNormBackward<T>& b = pass.operation;
  for (int64_t row = range.begin; row < range.end; row += kColumnSumRows) {
    T* sums = pass.sums + row / kColumnSumRows * 2 * b.c;
    const int64_t rows = rows_of_tile(row, range.end);
    b.y != nullptr ? sum_backward_tile<true>(b, row, rows, sums, sums + b.c)
                   : sum_backward_tile<false>(b, row, rows, sums, sums + b.c);
  }
}

// dx (+)= scale * dz + slope * (x - mean) + offset, which is dx of batch_norm.h.
template <class T>
struct BackwardApplyPass {
  const BatchNormBackward<T>& operation;
  const T *scale, *slope, *offset;
};

template <bool kRelu, class T>
FLYBALL_INLINE void backward_row(const BackwardApplyPass<T>& pass, int64_t row) {
  const BatchNormBackward<T>& b = pass.operation;
  const int64_t c = b.c, at = row * c;
  const T* __restrict x = b.x + at, * __restrict dy = b.dy + at;
  const T* __restrict y = kRelu ? b.y + at : dy;
  const T* __restrict mean = b.mean, * __restrict scale = pass.scale;
  const T* __restrict slope = pass.slope, * __restrict offset = pass.offset;
  if (b.dresidual != nullptr) {
    T* __restrict dresidual = b.dresidual + at;
    if (b.accumulate_dresidual) {
#pragma GCC ivdep
      for (int64_t j = 0; j < c; ++j) dresidual[j] += masked<kRelu>(y[j], dy[j]);
    } else {
#pragma GCC ivdep
      for (int64_t j = 0; j < c; ++j) dresidual[j] = masked<kRelu>(y[j], dy[j]);
    }
  }
  if (b.dx == nullptr) return;
  T* __restrict dx = b.dx + at;
  const auto gradient = [&](int64_t j) {
    return scale[j] * masked<kRelu>(y[j], dy[j]) + (slope[j] * (x[j] - mean[j]) + offset[j]);
  };
  if (b.accumulate_dx) {
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) dx[j] += gradient(j);
  } else {
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) dx[j] = gradient(j);
  }
}

template <class T>
FLYBALL_INLINE void range_body(const BackwardApplyPass<T>& pass, const RowRange& range) {
  for (int64_t row = range.begin; row < range.end; ++row) {
    pass.operation.y != nullptr ? backward_row<true>(pass, row) : backward_row<false>(pass, row);
  }
}

FLYBALL_SIMD void run_range(const StatisticsPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
FLYBALL_SIMD void run_range(const ApplyPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
FLYBALL_SIMD void run_range(const BackwardSumsPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
FLYBALL_SIMD void run_range(const BackwardApplyPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
void run_range(const auto& pass, const RowRange& range) { range_body(pass, range); }

template <class Pass>
void run_sums(int64_t rows, int64_t c, const Pass& pass) {
  for_row_ranges(rows, c, false, [&](const RowRange& range) { run_range(pass, range); });
}

template <class Pass>
void run_apply(int64_t rows, int64_t c, const Pass& pass) {
  for_row_ranges(rows, c, true, [&](const RowRange& range) { run_range(pass, range); });
}

// mean[j] and squares[j], the squared deviations from it, of all rows. With tiles of n_t rows: mean
// = sum of sums / rows, and squares = sum of squares_t + n_t (mean_t - mean)^2.
template <class T>
void merge_tiles(const T* sums, int64_t rows, int64_t c, double* __restrict mean,
                 double* __restrict squares) {
  std::fill_n(mean, c, 0.0);
  std::fill_n(squares, c, 0.0);
  for (int64_t tile = 0; tile < tiles_of(rows); ++tile) {
    const T* __restrict sum = sums + tile * 2 * c;
    for (int64_t j = 0; j < c; ++j) mean[j] += static_cast<double>(sum[j]);
  }
  for (int64_t j = 0; j < c; ++j) mean[j] /= static_cast<double>(rows);
  for (int64_t row = 0; row < rows; row += kColumnSumRows) {
    const T* __restrict sum = sums + row / kColumnSumRows * 2 * c;
    const T* __restrict square = sum + c;
    const auto count = static_cast<double>(rows_of_tile(row, rows));
    const double inverse = 1 / count;
    for (int64_t j = 0; j < c; ++j) {
      const double delta = static_cast<double>(sum[j]) * inverse - mean[j];
      squares[j] += static_cast<double>(square[j]) + count * (delta * delta);
    }
  }
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

struct TileSums;
struct Totals;
struct Coefficients;

template <class T>
void put(T* to, bool accumulate, double value) {
  *to = static_cast<T>(accumulate ? static_cast<double>(*to) + value : value);
}

}  // namespace

template <class T>
void batch_norm_forward(const BatchNormForward<T>& f) {
  const int64_t rows = f.rows, c = f.c;
  const T* sums = f.column_sums;
  if (sums == nullptr) {
    T* own = scratch<TileSums, T>(tiles_of(rows) * 2 * c);
    run_sums(rows, c, StatisticsPass<T>{f, own});
    sums = own;
  }
  double* mean = scratch<Totals, double>(2 * c);
  double* squares = mean + c;
  merge_tiles(sums, rows, c, mean, squares);
  T* scale = scratch<Coefficients, T>(c);
  const auto count = static_cast<double>(rows);
  for (int64_t j = 0; j < c; ++j) {
    const double inv_std = 1 / std::sqrt(squares[j] / count + f.eps);
    f.mean[j] = static_cast<T>(mean[j]);
    f.inv_std[j] = static_cast<T>(inv_std);
    scale[j] = static_cast<T>(static_cast<double>(f.gamma[j]) * inv_std);
    if (f.running_mean == nullptr || !std::isfinite(squares[j])) continue;
    const auto follow = [&](T& running, double value) {
      running =
          static_cast<T>((1 - f.momentum) * static_cast<double>(running) + f.momentum * value);
    };
    follow(f.running_mean[j], mean[j]);
    follow(f.running_var[j], squares[j] / (count - 1));
  }
  run_apply(rows, c, ApplyPass<T>{f.x, f.residual, f.mean, scale, f.beta, f.y, c, f.relu});
}

template <class T>
void batch_norm_evaluation(const BatchNormEvaluation<T>& f) {
  T* scale = scratch<Coefficients, T>(f.c);
  for (int64_t j = 0; j < f.c; ++j) {
    scale[j] = static_cast<T>(static_cast<double>(f.gamma[j]) /
                              std::sqrt(static_cast<double>(f.running_var[j]) + f.eps));
  }
  run_apply(f.rows, f.c,
            ApplyPass<T>{f.x, f.residual, f.running_mean, scale, f.beta, f.y, f.c, f.relu});
}

template <class T>
void batch_norm_backward(const BatchNormBackward<T>& b) {
  const int64_t rows = b.rows, c = b.c;
  T* sums = scratch<TileSums, T>(tiles_of(rows) * 2 * c);
  run_sums(rows, c, BackwardSumsPass<T>{b, sums});
  double* totals = scratch<Totals, double>(2 * c);
  add_tiles(sums, rows, c, totals);
  T* scale = scratch<Coefficients, T>(3 * c);
  T *slope = scale + c, *offset = scale + 2 * c;
  const auto count = static_cast<double>(rows);
  for (int64_t j = 0; j < c; ++j) {
    const auto inv_std = static_cast<double>(b.inv_std[j]);
    const double dbeta = totals[j], dgamma = totals[c + j] * inv_std;
    if (b.dbeta != nullptr) put(b.dbeta + j, b.accumulate_dbeta, dbeta);
    if (b.dgamma != nullptr) put(b.dgamma + j, b.accumulate_dgamma, dgamma);
    const double factor = static_cast<double>(b.gamma[j]) * inv_std;
    scale[j] = static_cast<T>(factor);
    slope[j] = static_cast<T>(-factor * inv_std * dgamma / count);
    offset[j] = static_cast<T>(-factor * dbeta / count);
  }
  if (b.dx == nullptr && b.dresidual == nullptr) return;
  run_apply(rows, c, BackwardApplyPass<T>{b, scale, slope, offset});
}

template void batch_norm_forward(const BatchNormForward<float>&);
template void batch_norm_forward(const BatchNormForward<double>&);
template void batch_norm_evaluation(const BatchNormEvaluation<float>&);
template void batch_norm_evaluation(const BatchNormEvaluation<double>&);
template void batch_norm_backward(const BatchNormBackward<float>&);
template void batch_norm_backward(const BatchNormBackward<double>&);

}  // namespace flyball::cpu

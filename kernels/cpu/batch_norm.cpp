#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/row_tiles.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"

// Two passes each: the first leaves two sums of every tile of kColumnSumRows rows and every
// channel, [tiles, 2, c], which are merged in order on one thread; the second applies.
namespace flyball::cpu {
namespace {

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

FLYBALL_SIMD void run_range(const StatisticsPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
FLYBALL_SIMD void run_range(const ApplyPass<float>& pass, const RowRange& range) {
  range_body(pass, range);
}
void run_range(const auto& pass, const RowRange& range) { range_body(pass, range); }

template <class T>
void run(const ApplyPass<T>& pass, int64_t rows) {
  for_row_ranges(rows, pass.c, kLastFirst, [&](const RowRange& range) { run_range(pass, range); });
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

}  // namespace

template <class T>
void batch_norm_forward(const BatchNormForward<T>& f) {
  const int64_t rows = f.rows, c = f.c;
  const T* sums = f.column_sums;
  if (sums == nullptr) {
    T* own = scratch<TileSums, T>(tiles_of(rows) * 2 * c);
    const StatisticsPass<T> pass{f, own};
    for_row_ranges(rows, c, kFirstFirst, [&](const RowRange& range) { run_range(pass, range); });
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
    scale[j] = f.gamma[j] * f.inv_std[j];
    if (f.running_mean == nullptr || !std::isfinite(squares[j])) continue;
    const auto follow = [&](T& running, double value) {
      running =
          static_cast<T>((1 - f.momentum) * static_cast<double>(running) + f.momentum * value);
    };
    follow(f.running_mean[j], mean[j]);
    follow(f.running_var[j], squares[j] / (count - 1));
  }
  run(ApplyPass<T>{f.x, f.residual, f.mean, scale, f.beta, f.y, c, f.relu}, rows);
}

template <class T>
void batch_norm_apply(const BatchNormApply<T>& f) {
  T* scale = scratch<Coefficients, T>(f.c);
  for (int64_t j = 0; j < f.c; ++j) {
    scale[j] = f.inv_std != nullptr
                   ? f.gamma[j] * f.inv_std[j]
                   : static_cast<T>(static_cast<double>(f.gamma[j]) /
                                    std::sqrt(static_cast<double>(f.var[j]) + f.eps));
  }
  run(ApplyPass<T>{f.x, f.residual, f.mean, scale, f.beta, f.y, f.c, f.relu}, f.rows);
}

template void batch_norm_forward(const BatchNormForward<float>&);
template void batch_norm_forward(const BatchNormForward<double>&);
template void batch_norm_apply(const BatchNormApply<float>&);
template void batch_norm_apply(const BatchNormApply<double>&);

}  // namespace flyball::cpu

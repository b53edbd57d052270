#include "kernels/batch_norm.h"

#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/launch.cuh"

// Training: the sums of groups of rows, the statistics from them, one pass that applies them; with
// the convolution's column sums the first is left out.
namespace flyball::cuda {
namespace {

constexpr int kSumRows = 4;    // of a thread: loads in flight
constexpr int kApplyRows = 4;  // of a thread

// Mean and squared deviations from it of `count` values in each of four columns.
template <class A>
struct Moments {
  A count, mean[4], squares[4];
};

// Chan, Golub & LeVeque 1979; see Conv2dForward.
template <class A>
__device__ void merge(Moments<A>& a, const Moments<A>& b) {
  const A count = a.count + b.count;
  const A share = count > 0 ? b.count / count : A{0};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const A delta = b.mean[j] - a.mean[j];
    a.mean[j] += delta * share;
    a.squares[j] += b.squares[j] + delta * delta * (a.count * share);
  }
  a.count = count;
}

// Of the thread's rows, by way of differences to the first of them: with d = x - x_0, squares =
// sum d^2 - (sum d)^2 / count. As x_0 is one of the values, sum d^2 is at most (count + 1) *
// squares, whatever the mean.
template <class T>
__device__ Moments<Accumulator<T>> moments_of_thread(const T* x, int64_t c, const ThreadRows& at) {
  using A = Accumulator<T>;
  Moments<A> moments{};
  Four<A> first{};
  A sums[4] = {};
  for (int64_t row = at.first; row < at.end; row += kSumRows * at.height) {
    Four<A> loaded[kSumRows];
#pragma unroll
    for (int i = 0; i < kSumRows; ++i) {
      loaded[i] = load(x + (row + i * at.height) * c, at.slot_of(row + i * at.height));
    }
    if (row == at.first) first = loaded[0];
#pragma unroll
    for (int i = 0; i < kSumRows; ++i) {
      const bool inside = row + i * at.height < at.end;
      moments.count += inside ? A{1} : A{0};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const A d = inside ? loaded[i].at[j] - first.at[j] : A{0};
        sums[j] += d;
        moments.squares[j] += d * d;
      }
    }
  }
  if (moments.count == 0) return moments;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const A mean = sums[j] / moments.count;
    const A squares = moments.squares[j] - sums[j] * mean;
    moments.mean[j] = first.at[j] + mean;
    moments.squares[j] = squares < 0 ? A{0} : squares;
  }
  return moments;
}

// The moments of all rows of threads, in the first `width` threads.
template <class A>
__device__ void merge_block(Moments<A>& moments, int width) {
  __shared__ Moments<A> of_threads[kColumnThreads];
  const int above = threadIdx.x / width;
  of_threads[threadIdx.x] = moments;
  for (int half = kColumnThreads / width / 2; half > 0; half /= 2) {
    __syncthreads();  // the moments of 2 * half rows of threads are complete
    if (above < half) {
      merge(moments, of_threads[threadIdx.x + half * width]);
      of_threads[threadIdx.x] = moments;
    }
  }
}

// sums: [groups, 2, c], as Conv2dForward's column sums of groups of group_rows rows.
template <class T>
struct SumsPass {
  const T* x;
  double* sums;
  int64_t rows, c;
  ColumnGrid grid;
};

// registers: <= 80
template <class T>
__global__ void __launch_bounds__(kColumnThreads) batch_norm_sums_kernel(SumsPass<T> pass) {
  const ThreadRows at = rows_of_thread(pass.grid, pass.rows, pass.c, are_aligned(pass.x));
  auto moments = moments_of_thread(pass.x, pass.c, at);
  merge_block(moments, pass.grid.width);
  if (threadIdx.x >= pass.grid.width) return;
  double* sums = pass.sums + at.group * 2 * pass.c + at.slot.begin;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j >= at.slot.count) continue;
    sums[j] = static_cast<double>(moments.count) * static_cast<double>(moments.mean[j]);
    sums[pass.c + j] = static_cast<double>(moments.squares[j]);
  }
}

// S: what the sums are kept in.
template <class A, class S>
struct StatisticsPass {
  const S* sums;
  int64_t groups, c;
  double group_rows, last_rows;                        // of each group, and of the last one
  double per_group, per_last, per_row, per_other_row;  // 1 / n_g, 1 / rows, 1 / (rows - 1)
  A *mean, *inv_std, *running_mean, *running_var;
  double eps, momentum;
};

// With groups of n_g rows: mean = sum of sums / rows, and squares = sum of squares_g +
// n_g (mean_g - mean)^2.
// registers: <= 48
template <class A, class S>
__global__ void __launch_bounds__(kEndThreads, 2)
    batch_norm_statistics_kernel(StatisticsPass<A, S> pass) {
  const int64_t column = end_column();
  const bool exists = column < pass.c;
  double sum = 0;
#pragma unroll 4
  for (int64_t g = end_share(); g < pass.groups; g += kEndShares) {
    if (exists) sum += static_cast<double>(pass.sums[g * 2 * pass.c + column]);
  }
  const double mean = sum_of_shares(sum) * pass.per_row;
  double squares = 0;
#pragma unroll 4
  for (int64_t g = end_share(); g < pass.groups; g += kEndShares) {
    const bool last = g == pass.groups - 1;
    const S* of_group = pass.sums + g * 2 * pass.c;
    if (!exists) continue;
    const double delta =
        static_cast<double>(of_group[column]) * (last ? pass.per_last : pass.per_group) - mean;
    squares += static_cast<double>(of_group[pass.c + column]) +
               (last ? pass.last_rows : pass.group_rows) * (delta * delta);
  }
  squares = sum_of_shares(squares);
  if (end_share() != 0 || !exists) return;
  pass.mean[column] = static_cast<A>(mean);
  pass.inv_std[column] = static_cast<A>(rsqrt(squares * pass.per_row + pass.eps));
  if (pass.running_mean == nullptr || !isfinite(squares)) return;
  const auto follow = [&](A& running, double value) {
    running =
        static_cast<A>((1 - pass.momentum) * static_cast<double>(running) + pass.momentum * value);
  };
  follow(pass.running_mean[column], mean);
  follow(pass.running_var[column], squares * pass.per_other_row);
}

// deviation: var, or inv_std.
template <class T, bool kVar>
struct ApplyPass {
  const T *x, *residual;
  const Accumulator<T>*mean, *deviation, *gamma, *beta;
  T* y;
  int64_t rows, c;
  Accumulator<T> eps;
  bool relu;
  ColumnGrid grid;
};

// registers: <= 132
template <class T, bool kVar>
__global__ void __launch_bounds__(kColumnThreads) batch_norm_apply_kernel(ApplyPass<T, kVar> pass) {
  using A = Accumulator<T>;
  const bool aligned =
      are_aligned(pass.x, pass.y) && (pass.residual == nullptr || are_aligned(pass.residual));
  const ThreadRows at = rows_of_thread(pass.grid, pass.rows, pass.c, aligned);
  const auto element = [&](int i) { return (at.first + i * at.height) * pass.c; };
  const auto slot = [&](int i) { return at.slot_of(at.first + i * at.height); };
  Four<A> x[kApplyRows], residual[kApplyRows] = {};
#pragma unroll
  for (int i = 0; i < kApplyRows; ++i) x[i] = load(pass.x + element(i), slot(i));
  if (pass.residual != nullptr) {
#pragma unroll
    for (int i = 0; i < kApplyRows; ++i) residual[i] = load(pass.residual + element(i), slot(i));
  }
  const Four<A> mean = column_values(pass.mean, at.slot);
  const Four<A> deviation = column_values(pass.deviation, at.slot);
  const Four<A> gamma = column_values(pass.gamma, at.slot);
  const Four<A> beta = column_values(pass.beta, at.slot);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const A inv_std = kVar ? A{1} / sqrt(deviation.at[j] + pass.eps) : deviation.at[j];
    const A scale = gamma.at[j] * inv_std;
#pragma unroll
    for (int i = 0; i < kApplyRows; ++i) {
      const A value = (x[i].at[j] - mean.at[j]) * scale + beta.at[j] + residual[i].at[j];
      x[i].at[j] = pass.relu && value < 0 ? A{0} : value;
    }
  }
#pragma unroll
  for (int i = 0; i < kApplyRows; ++i) store_vector(pass.y + element(i), slot(i), x[i]);
}

template <class T, bool kVar>
void launch_apply(const BatchNormApply<T>& f, cudaStream_t stream) {
  const ColumnGrid grid = apply_grid(f.rows, f.c, kApplyRows);
  launch(batch_norm_apply_kernel<T, kVar>, "batch_norm_apply",
         {.grid = static_cast<unsigned>(grid.blocks()), .block = kColumnThreads}, stream,
         ApplyPass<T, kVar>{.x = f.x,
                            .residual = f.residual,
                            .mean = f.mean,
                            .deviation = kVar ? f.var : f.inv_std,
                            .gamma = f.gamma,
                            .beta = f.beta,
                            .y = f.y,
                            .rows = f.rows,
                            .c = f.c,
                            .eps = static_cast<Accumulator<T>>(f.eps),
                            .relu = f.relu,
                            .grid = grid});
}

template <class T, class S>
void launch_statistics(const BatchNormForward<T>& f, const S* sums, int64_t groups,
                       int64_t group_rows, cudaStream_t stream) {
  using A = Accumulator<T>;
  const auto rows = static_cast<double>(f.rows), most_rows = static_cast<double>(group_rows);
  const auto last_rows = static_cast<double>(f.rows - (groups - 1) * group_rows);
  launch(batch_norm_statistics_kernel<A, S>, "batch_norm_statistics",
         {.grid = end_blocks(f.c), .block = kEndThreads}, stream,
         StatisticsPass<A, S>{.sums = sums,
                              .groups = groups,
                              .c = f.c,
                              .group_rows = most_rows,
                              .last_rows = last_rows,
                              .per_group = 1 / most_rows,
                              .per_last = 1 / last_rows,
                              .per_row = 1 / rows,
                              .per_other_row = 1 / (rows - 1),
                              .mean = f.mean,
                              .inv_std = f.inv_std,
                              .running_mean = f.running_mean,
                              .running_var = f.running_var,
                              .eps = f.eps,
                              .momentum = f.momentum});
}

}  // namespace

template <class T>
void batch_norm_forward(const BatchNormForward<T>& f, cudaStream_t stream) {
  if (f.column_sums != nullptr) {
    launch_statistics(f, f.column_sums, ceil_divide(f.rows, kColumnSumRows), kColumnSumRows,
                      stream);
  } else {
    const ColumnGrid grid = column_grid(f.rows, f.c);
    auto* sums = static_cast<double*>(f.workspace);
    launch(batch_norm_sums_kernel<T>, "batch_norm_sums",
           {.grid = static_cast<unsigned>(grid.blocks()), .block = kColumnThreads}, stream,
           SumsPass<T>{f.x, sums, f.rows, f.c, grid});
    launch_statistics(f, sums, grid.groups, grid.group_rows, stream);
  }
  launch_apply<T, false>(BatchNormApply<T>{.x = f.x,
                                           .gamma = f.gamma,
                                           .beta = f.beta,
                                           .residual = f.residual,
                                           .mean = f.mean,
                                           .inv_std = f.inv_std,
                                           .y = f.y,
                                           .rows = f.rows,
                                           .c = f.c,
                                           .relu = f.relu},
                         stream);
}

template <class T>
int64_t batch_norm_forward_workspace_bytes(const BatchNormForward<T>& f) {
  return f.column_sums != nullptr ? 0 : group_sum_bytes(column_grid(f.rows, f.c), f.c);
}

template <class T>
void batch_norm_apply(const BatchNormApply<T>& f, cudaStream_t stream) {
  f.inv_std != nullptr ? launch_apply<T, false>(f, stream) : launch_apply<T, true>(f, stream);
}

template void batch_norm_forward(const BatchNormForward<float>&, cudaStream_t);
template void batch_norm_forward(const BatchNormForward<double>&, cudaStream_t);
template void batch_norm_forward(const BatchNormForward<bf16>&, cudaStream_t);
template int64_t batch_norm_forward_workspace_bytes(const BatchNormForward<float>&);
template int64_t batch_norm_forward_workspace_bytes(const BatchNormForward<double>&);
template int64_t batch_norm_forward_workspace_bytes(const BatchNormForward<bf16>&);
template void batch_norm_apply(const BatchNormApply<float>&, cudaStream_t);
template void batch_norm_apply(const BatchNormApply<double>&, cudaStream_t);
template void batch_norm_apply(const BatchNormApply<bf16>&, cudaStream_t);

}  // namespace flyball::cuda

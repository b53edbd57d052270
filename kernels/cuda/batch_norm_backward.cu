#include "kernels/batch_norm.h"
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/launch.cuh"

// The sums of groups of rows, dgamma, dbeta and the coefficients of dx from them, one pass that
// writes dx and dresidual.
namespace flyball::cuda {
namespace {

constexpr int kSumRows = 2;    // of a thread: three loads each in flight
constexpr int kApplyRows = 2;  // of a thread: up to five loads each in flight

// Of the passes over the rows, at least, on a multiprocessor.
template <class T>
constexpr int kSumBlocks = sizeof(Accumulator<T>) == 4 ? 4 : 2;
template <class T, bool kByX>
constexpr int kApplyBlocks = kByX ? kSumBlocks<T> * 3 / 4 : kSumBlocks<T>;

template <class T>
struct BackwardPass {
  BatchNormBackward<T> operation;
  ColumnGrid grid;
  double* sums;                  // [groups, 2, c]: of dz and of dz * (x - mean)
  Accumulator<T>* coefficients;  // [3, c]: dx = [0] dz + [1] (x - mean) + [2]
};

// What the ReLU let through of the thread's columns: told by x (kByX), or by y where there is one.
template <bool kByX, class A>
struct Gate {
  bool by_y;
  Four<A> scale, beta;  // kByX: gamma * inv_std, beta

  // dy becomes dz.
  __device__ void close(const Four<A>& y, const Four<A>& x, const Four<A>& mean,
                        Four<A>& dy) const {
    if (!kByX && !by_y) return;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const A value = kByX ? (x.at[j] - mean.at[j]) * scale.at[j] + beta.at[j] : y.at[j];
      dy.at[j] = value > 0 ? dy.at[j] : A{0};
    }
  }
};

// registers: <= 128
template <class T, bool kByX>
__global__ void __launch_bounds__(kColumnThreads, kSumBlocks<T>)
    batch_norm_backward_sums_kernel(BackwardPass<T> pass) {
  using A = Accumulator<T>;
  __shared__ double of_threads[8][kColumnThreads];
  const BatchNormBackward<T>& b = pass.operation;
  const ThreadRows at = rows_of_thread(
      pass.grid, b.rows, b.c, are_aligned(b.x, b.dy) && (b.y == nullptr || are_aligned(b.y)));
  const Four<A> mean = column_values(b.mean, at.slot);
  Gate<kByX, A> gate{.by_y = b.y != nullptr};
  if (kByX) {
    gate.scale = column_values(b.gamma, at.slot);
    gate.beta = column_values(b.beta, at.slot);
    const Four<A> inv_std = column_values(b.inv_std, at.slot);
#pragma unroll
    for (int j = 0; j < 4; ++j) gate.scale.at[j] *= inv_std.at[j];
  }
  A sums[8] = {};
  for (int64_t row = at.first; row < at.end; row += kSumRows * at.height) {
    Four<A> x[kSumRows], dz[kSumRows], y[kSumRows];
#pragma unroll
    for (int i = 0; i < kSumRows; ++i) {
      const int64_t at_row = row + i * at.height;
      x[i] = load(b.x + at_row * b.c, at.slot_of(at_row));
      dz[i] = load(b.dy + at_row * b.c, at.slot_of(at_row));
      if (!kByX && gate.by_y) y[i] = load(b.y + at_row * b.c, at.slot_of(at_row));
    }
#pragma unroll
    for (int i = 0; i < kSumRows; ++i) {
      gate.close(y[i], x[i], mean, dz[i]);  // rows beyond the end have dz = 0
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        sums[j] += dz[i].at[j];
        sums[4 + j] += dz[i].at[j] * (x[i].at[j] - mean.at[j]);
      }
    }
  }
#pragma unroll
  for (int j = 0; j < 8; ++j) of_threads[j][threadIdx.x] = static_cast<double>(sums[j]);
  const int width = pass.grid.width, above = threadIdx.x / width;
  for (int half = at.height / 2; half > 0; half /= 2) {
    __syncthreads();  // the sums of 2 * half rows of threads are complete
    if (above < half) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        of_threads[j][threadIdx.x] += of_threads[j][threadIdx.x + half * width];
      }
    }
  }
  if (above > 0) return;
  double* to = pass.sums + at.group * 2 * b.c + at.slot.begin;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j >= at.slot.count) continue;
    to[j] = of_threads[j][threadIdx.x];
    to[b.c + j] = of_threads[4 + j][threadIdx.x];
  }
}

template <class A>
__device__ void put(A* to, bool accumulate, double value) {
  if (to != nullptr) *to = static_cast<A>(accumulate ? static_cast<double>(*to) + value : value);
}

// registers: <= 56
template <class T>
__global__ void __launch_bounds__(kEndThreads)
    batch_norm_backward_coefficients_kernel(BackwardPass<T> pass) {
  using A = Accumulator<T>;
  const BatchNormBackward<T>& b = pass.operation;
  const int64_t column = end_column();
  const bool exists = column < b.c;
  double dz = 0, product = 0;
#pragma unroll 4
  for (int64_t g = end_share(); g < pass.grid.groups; g += kEndShares) {
    const double* of_group = pass.sums + g * 2 * b.c;
    if (exists) dz += of_group[column];
    if (exists) product += of_group[b.c + column];
  }
  dz = sum_of_shares(dz);
  product = sum_of_shares(product);
  if (end_share() != 0 || !exists) return;
  const auto inv_std = static_cast<double>(b.inv_std[column]);
  put(b.dbeta + (b.dbeta != nullptr ? column : 0), b.accumulate_dbeta, dz);
  put(b.dgamma + (b.dgamma != nullptr ? column : 0), b.accumulate_dgamma, product * inv_std);
  const double scale = static_cast<double>(b.gamma[column]) * inv_std;
  const double share = scale / static_cast<double>(b.rows);
  pass.coefficients[column] = static_cast<A>(scale);
  pass.coefficients[b.c + column] = static_cast<A>(-share * inv_std * inv_std * product);
  pass.coefficients[2 * b.c + column] = static_cast<A>(-share * dz);
}

template <class T>
__device__ bool apply_is_aligned(const BatchNormBackward<T>& b) {
  const auto fits = [](const T* x) { return x == nullptr || are_aligned(x); };
  return fits(b.x) && fits(b.dy) && fits(b.y) && fits(b.dx) && fits(b.dresidual);
}

// registers: <= 128
template <class T, bool kByX>
__global__ void __launch_bounds__(kColumnThreads, kApplyBlocks<T, kByX>)
    batch_norm_backward_apply_kernel(BackwardPass<T> pass) {
  using A = Accumulator<T>;
  const BatchNormBackward<T>& b = pass.operation;
  const ThreadRows at = rows_of_thread(pass.grid, b.rows, b.c, apply_is_aligned(b));
  const auto element = [&](int i) { return (at.first + i * at.height) * b.c; };
  const auto slot = [&](int i) { return at.slot_of(at.first + i * at.height); };
  const auto read = [&](bool wanted, const T* from, Four<A>(&to)[kApplyRows]) {
    if (!wanted) return;
#pragma unroll
    for (int i = 0; i < kApplyRows; ++i) to[i] = load(from + element(i), slot(i));
  };
  Four<A> dz[kApplyRows], x[kApplyRows] = {}, y[kApplyRows];
  Four<A> dx[kApplyRows] = {}, dresidual[kApplyRows] = {};
  read(true, b.dy, dz);
  read(!kByX && b.y != nullptr, b.y, y);
  read(kByX || b.dx != nullptr, b.x, x);
  read(b.dx != nullptr && b.accumulate_dx, b.dx, dx);
  read(b.dresidual != nullptr && b.accumulate_dresidual, b.dresidual, dresidual);
  Gate<kByX, A> gate{.by_y = b.y != nullptr};
  Four<A> mean = {};
  if (kByX) {
    mean = column_values(b.mean, at.slot);
    gate.scale = column_values(pass.coefficients, at.slot);
    gate.beta = column_values(b.beta, at.slot);
  }
#pragma unroll
  for (int i = 0; i < kApplyRows; ++i) gate.close(y[i], x[i], mean, dz[i]);
  if (b.dresidual != nullptr) {
#pragma unroll
    for (int i = 0; i < kApplyRows; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) dresidual[i].at[j] += dz[i].at[j];
      store_vector(b.dresidual + element(i), slot(i), dresidual[i]);
    }
  }
  if (b.dx == nullptr) return;
  if (!kByX) mean = column_values(b.mean, at.slot);  // where registers are short, no earlier
  const Four<A> scale = kByX ? gate.scale : column_values(pass.coefficients, at.slot);
  const Four<A> slope = column_values(pass.coefficients + b.c, at.slot);
  const Four<A> offset = column_values(pass.coefficients + 2 * b.c, at.slot);
#pragma unroll
  for (int i = 0; i < kApplyRows; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      dx[i].at[j] +=
          scale.at[j] * dz[i].at[j] + (slope.at[j] * (x[i].at[j] - mean.at[j]) + offset.at[j]);
    }
    store_vector(b.dx + element(i), slot(i), dx[i]);
  }
}

template <class T, bool kByX>
void launch_passes(const BatchNormBackward<T>& b, cudaStream_t stream) {
  BackwardPass<T> pass{b, column_grid(b.rows, b.c), static_cast<double*>(b.workspace), nullptr};
  pass.coefficients = reinterpret_cast<Accumulator<T>*>(pass.sums + pass.grid.groups * 2 * b.c);
  launch(batch_norm_backward_sums_kernel<T, kByX>, "batch_norm_backward_sums",
         {.grid = static_cast<unsigned>(pass.grid.blocks()), .block = kColumnThreads}, stream,
         pass);
  launch(batch_norm_backward_coefficients_kernel<T>, "batch_norm_backward_coefficients",
         {.grid = end_blocks(b.c), .block = kEndThreads}, stream, pass);
  if (b.dx == nullptr && b.dresidual == nullptr) return;
  pass.grid = apply_grid(b.rows, b.c, kApplyRows);
  launch(batch_norm_backward_apply_kernel<T, kByX>, "batch_norm_backward_apply",
         {.grid = static_cast<unsigned>(pass.grid.blocks()), .block = kColumnThreads}, stream,
         pass);
}

}  // namespace

template <class T>
void batch_norm_backward(const BatchNormBackward<T>& b, cudaStream_t stream) {
  b.y == nullptr && b.beta != nullptr ? launch_passes<T, true>(b, stream)
                                     : launch_passes<T, false>(b, stream);
}

template <class T>
int64_t batch_norm_backward_workspace_bytes(const BatchNormBackward<T>& b) {
  return group_sum_bytes(column_grid(b.rows, b.c), b.c) +
         3 * b.c * static_cast<int64_t>(sizeof(Accumulator<T>));
}

template void batch_norm_backward(const BatchNormBackward<float>&, cudaStream_t);
template void batch_norm_backward(const BatchNormBackward<double>&, cudaStream_t);
template void batch_norm_backward(const BatchNormBackward<bf16>&, cudaStream_t);
template int64_t batch_norm_backward_workspace_bytes(const BatchNormBackward<float>&);
template int64_t batch_norm_backward_workspace_bytes(const BatchNormBackward<double>&);
template int64_t batch_norm_backward_workspace_bytes(const BatchNormBackward<bf16>&);

}  // namespace flyball::cuda

#include "kernels/reduce.h"

#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSlots = 4;  // of a thread at a time: loads in flight

// How count elements are cut for sums in two stages: chunks that the count alone decides.
int64_t chunk_of(int64_t count) {
  constexpr int64_t kMostChunks = 1024;
  constexpr int64_t kStep = int64_t{4} * kThreads * kSlots;
  return kStep * ceil_divide(ceil_divide(count, kMostChunks), kStep);
}

int64_t chunks_of(int64_t count) { return count > 0 ? ceil_divide(count, chunk_of(count)) : 1; }

// y = finish(sum of term(x)); partial: [chunks].
template <class Operation>
struct SumPass {
  Operation operation;
  double* partial = nullptr;
  int64_t chunk = 0, chunks = 0;
};

template <class T>
__device__ double term(const ReduceSum<T>&, Accumulator<T> x) {
  return static_cast<double>(x);
}
template <class T>
__device__ double term(const SumOfSquares<T>&, T x) {
  const double value = static_cast<double>(x);
  return value - value == 0 ? value * value : 0;
}

template <class T>
__device__ void finish(const ReduceSum<T>& a, double sum) {
  const double before = a.accumulate ? static_cast<double>(widened(a.y[0])) : 0;
  a.y[0] = narrowed<T>(static_cast<Accumulator<T>>(before + a.alpha * sum));
}
template <class T>
__device__ void finish(const SumOfSquares<T>& a, double sum) {
  a.y[0] = a.accumulate ? a.y[0] + sum : sum;
}

// The terms of chunk blockIdx.x, in every thread.
template <class Operation>
__device__ double sum_chunk(const SumPass<Operation>& pass) {
  const auto& a = pass.operation;
  const bool aligned = are_aligned(a.x);
  const int64_t begin = blockIdx.x * pass.chunk;
  const int64_t end = min(begin + pass.chunk, a.count);
  double sums[4] = {};
  for (int64_t at = begin + 4 * threadIdx.x; at < end; at += 4 * kThreads * kSlots) {
    Slot slots[kSlots];
    Four<Accumulator<std::remove_cvref_t<decltype(*a.x)>>> x[kSlots];
#pragma unroll
    for (int s = 0; s < kSlots; ++s) {
      slots[s] = slot_at(at + 4 * kThreads * s, end, aligned);
      x[s] = load(a.x, slots[s]);
    }
#pragma unroll
    for (int s = 0; s < kSlots; ++s) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[j] += term(a, x[s].at[j]);
    }
  }
  return block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class Operation>
__device__ void sum_first_stage(const SumPass<Operation>& pass) {
  const double sum = sum_chunk(pass);
  if (threadIdx.x != 0) return;
  if (pass.chunks == 1) {
    finish(pass.operation, sum);
  } else {
    pass.partial[blockIdx.x] = sum;
  }
}

// registers: <= 64
template <class T>
__global__ void __launch_bounds__(kThreads) reduce_sum_kernel(SumPass<ReduceSum<T>> pass) {
  sum_first_stage(pass);
}

// registers: <= 64
template <class T>
__global__ void __launch_bounds__(kThreads) sum_of_squares_kernel(SumPass<SumOfSquares<T>> pass) {
  sum_first_stage(pass);
}

// registers: <= 24
template <class Operation>
__global__ void __launch_bounds__(kThreads) sum_chunks_kernel(SumPass<Operation> pass) {
  double sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < pass.chunks; i += kThreads) sum += pass.partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) finish(pass.operation, sum);
}

template <class Operation>
void launch_sum(void (*kernel)(SumPass<Operation>), const char* name, const Operation& a,
                cudaStream_t stream) {
  const SumPass<Operation> pass{a, static_cast<double*>(a.workspace), chunk_of(a.count),
                                chunks_of(a.count)};
  launch(kernel, name, {.grid = static_cast<unsigned>(pass.chunks), .block = kThreads}, stream,
         pass);
  if (pass.chunks == 1) return;
  launch(sum_chunks_kernel<Operation>, "sum_chunks", {.grid = 1, .block = kThreads}, stream, pass);
}

template <class T>
struct RowsPass {
  ReduceRows<T> operation;
  ColumnGrid grid;
};

template <class T>
__host__ __device__ ColumnResult<Accumulator<T>> result_of(const ReduceRows<T>& a, int64_t groups) {
  return {.y = a.y,
          .partial = static_cast<double*>(a.workspace),
          .columns = a.columns,
          .groups = groups,
          .accumulate = a.accumulate};
}

// registers: <= 80
template <class T>
__global__ void __launch_bounds__(kColumnThreads) reduce_rows_kernel(RowsPass<T> pass) {
  const ReduceRows<T>& a = pass.operation;
  const int64_t group = blockIdx.x / pass.grid.column_tiles;
  const int64_t tile = blockIdx.x % pass.grid.column_tiles;
  const Slot slot = column_slot(tile, pass.grid.width, a.columns, are_aligned(a.x));
  const int64_t row_begin = group * pass.grid.group_rows;
  const int64_t row_end = min(row_begin + pass.grid.group_rows, a.rows);
  double totals[4];
  sum_columns<Accumulator<T>>(
      row_begin, row_end, pass.grid.width,
      [&](int64_t row) { return load(a.x + row * a.columns, slot); },
      [](int64_t, const Four<Accumulator<T>>& x) { return x; }, totals);
  put_group(result_of(a, pass.grid.groups), group, slot, pass.grid.width, totals);
}

int64_t sum_bytes(int64_t count) {
  return chunks_of(count) == 1 ? 0 : chunks_of(count) * static_cast<int64_t>(sizeof(double));
}

}  // namespace

template <class T>
void reduce_sum(const ReduceSum<T>& a, cudaStream_t stream) {
  launch_sum(reduce_sum_kernel<T>, "reduce_sum", a, stream);
}

template <class T>
void sum_of_squares(const SumOfSquares<T>& a, cudaStream_t stream) {
  launch_sum(sum_of_squares_kernel<T>, "sum_of_squares", a, stream);
}

template <class T>
void reduce_rows(const ReduceRows<T>& a, cudaStream_t stream) {
  if (a.columns == 0) return;
  const ColumnGrid grid = column_grid(a.rows, a.columns);
  launch(reduce_rows_kernel<T>, "reduce_rows",
         {.grid = static_cast<unsigned>(grid.blocks()), .block = kColumnThreads}, stream,
         RowsPass<T>{a, grid});
  sum_groups(result_of(a, grid.groups), stream);
}

template void reduce_sum(const ReduceSum<float>&, cudaStream_t);
template void reduce_sum(const ReduceSum<double>&, cudaStream_t);
template void reduce_sum(const ReduceSum<bf16>&, cudaStream_t);
template void reduce_rows(const ReduceRows<float>&, cudaStream_t);
template void reduce_rows(const ReduceRows<double>&, cudaStream_t);
template void reduce_rows(const ReduceRows<bf16>&, cudaStream_t);
template void sum_of_squares(const SumOfSquares<float>&, cudaStream_t);
template void sum_of_squares(const SumOfSquares<double>&, cudaStream_t);

template <class T>
int64_t reduce_sum_workspace_bytes(const ReduceSum<T>& a) {
  return sum_bytes(a.count);
}
template <class T>
int64_t sum_of_squares_workspace_bytes(const SumOfSquares<T>& a) {
  return sum_bytes(a.count);
}
template <class T>
int64_t reduce_rows_workspace_bytes(const ReduceRows<T>& a) {
  return partial_bytes(column_grid(a.rows, a.columns), a.columns);
}

template int64_t reduce_sum_workspace_bytes(const ReduceSum<float>&);
template int64_t reduce_sum_workspace_bytes(const ReduceSum<double>&);
template int64_t reduce_sum_workspace_bytes(const ReduceSum<bf16>&);
template int64_t sum_of_squares_workspace_bytes(const SumOfSquares<float>&);
template int64_t sum_of_squares_workspace_bytes(const SumOfSquares<double>&);
template int64_t reduce_rows_workspace_bytes(const ReduceRows<float>&);
template int64_t reduce_rows_workspace_bytes(const ReduceRows<double>&);
template int64_t reduce_rows_workspace_bytes(const ReduceRows<bf16>&);

}  // namespace flyball::cuda

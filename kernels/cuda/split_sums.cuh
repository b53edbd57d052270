#pragma once

#include "kernels/cuda/tile_output.cuh"

// The second stage of products whose depth is split over blocks: the splits' sums, each a copy of
// c in the workspace, are added up in their order.
namespace flyball::cuda::tiles {

// Where a split's sums go, a copy of c of `count` elements.
template <class T>
__host__ __device__ Output<T> partial_output(T* partials, int columns) {
  return {.c = partials,
          .bias = nullptr,
          .columns = columns,
          .relu = false,
          .accumulate = false,
          .groups = columns % kGroup<T> == 0};
}

template <class T>
struct SplitSum {
  const Accumulator<T>* partials;  // [splits, count]
  Output<T> output;                // [count / columns, columns]
  int64_t count;
  int splits;
};

constexpr int kSumThreads = 256;

// c = the splits' sums, added in their order. The splits of one thread are loads without
// dependence.
// registers: <= 40
template <class T>
__global__ void __launch_bounds__(kSumThreads) split_k_sum_kernel(const SplitSum<T> sum) {
  using Sum = Accumulator<T>;
  const int64_t i = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  const int columns = sum.output.columns;
  if (sum.output.groups) {
    const int64_t at = i * kGroup<T>;
    if (at >= sum.count) return;
    Sum total[kGroup<T>] = {};
#pragma unroll 4
    for (int s = 0; s < sum.splits; ++s) {
      Sum part[kGroup<T>];
      read_vector(sum.partials + s * sum.count + at, part);
#pragma unroll
      for (int j = 0; j < kGroup<T>; ++j) total[j] += part[j];
    }
    const auto column = static_cast<int>(at % columns);
    write_sums(sum.output, sum.output.c + at, column, total);
    return;
  }
  if (i >= sum.count) return;
  Sum total = 0;
#pragma unroll 4
  for (int s = 0; s < sum.splits; ++s) total += sum.partials[s * sum.count + i];
  T* c = sum.output.c + i;
  *c = narrowed<T>(finished(sum.output, static_cast<int>(i % columns), total,
                           sum.output.accumulate ? widened(*c) : 0));
}

template <class T>
struct SplitColumnSum {
  SplitSum<T> sum;
  ColumnSums<Accumulator<T>> columns;
};

// The same, and the column sums. A block has kSumRows rows of 32 columns: a warp has every 8th row,
// a lane one column.
// registers: <= 72
template <class T>
__global__ void __launch_bounds__(kSumThreads)
    split_k_column_sum_kernel(const SplitColumnSum<T> task) {
  using Sum = Accumulator<T>;
  constexpr int kWarps = kSumThreads / 32, kEach = kSumRows / kWarps;
  __shared__ Sum partial[2][kWarps][32];
  const SplitSum<T>& sum = task.sum;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int column = static_cast<int>(blockIdx.y) * 32 + lane;
  const int tile = static_cast<int>(blockIdx.x), rows = task.columns.rows_of(tile);
  const bool inside = column < sum.output.columns;
  const int64_t first = (int64_t{tile} * kSumRows + warp) * sum.output.columns + column;
  const int64_t step = int64_t{kWarps} * sum.output.columns;
  // load, add, store: values [kEach] of this lane
  Sum values[kEach] = {};
  for (int s = 0; s < sum.splits; ++s) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (inside && warp + i * kWarps < rows) {
        values[i] += sum.partials[s * sum.count + first + i * step];
      }
    }
  }
  Sum total = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (inside && warp + i * kWarps < rows) {
      const T value = narrowed<T>(finished(sum.output, column, values[i], Sum{0}));
      sum.output.c[first + i * step] = value;
      values[i] = widened(value);
      total += values[i];
    }
  }
  // reduce: over the warps, in their order
  const auto over_warps = [&](Sum mine, int which) {
    partial[which][warp][lane] = mine;
    __syncthreads();  // every warp's part is there
    Sum all = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) all += partial[which][w][lane];
    return all;
  };
  total = over_warps(total, 0);
  const Sum mean = total / static_cast<Sum>(rows);
  Sum squares = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const Sum deviation = values[i] - mean;
    if (warp + i * kWarps < rows) squares += deviation * deviation;
  }
  squares = over_warps(squares, 1);
  if (warp == 0 && inside) task.columns.write(tile, column, total, squares);
}

inline int64_t partial_bytes(const Plan& plan, int64_t count, size_t element_bytes) {
  return plan.splits == 1 ? 0 : plan.splits * count * static_cast<int64_t>(element_bytes);
}

// The kernel's place for partial sums; throws where it needs one and has none.
template <class T>
T* partials_of(void* workspace, const Plan& plan, const char* name) {
  if (plan.splits > 1 && (workspace == nullptr || !is_aligned(static_cast<const T*>(workspace)))) {
    throw Error(str(name, ": workspace is ", workspace, ", expected 16-byte aligned memory for ",
                    plan.splits, " partial results"));
  }
  return static_cast<T*>(workspace);
}

// The second stage, where the plan has one.
template <class T>
void add_splits(const Plan& plan, const Accumulator<T>* partials, const Output<T>& output,
                int64_t count, const char* name, cudaStream_t stream,
                const ColumnSums<Accumulator<T>>& columns = {}) {
  if (plan.splits == 1) return;
  const SplitSum<T> sum{
      .partials = partials, .output = output, .count = count, .splits = plan.splits};
  if (columns.to != nullptr) {
    const dim3 grid(static_cast<unsigned>(ceil_divide(columns.rows, kSumRows)),
                    static_cast<unsigned>(ceil_divide(columns.columns, 32)));
    launch(split_k_column_sum_kernel<T>, name, {.grid = grid, .block = dim3(kSumThreads)}, stream,
           SplitColumnSum<T>{.sum = sum, .columns = columns});
    return;
  }
  const int64_t threads = output.groups ? count / kGroup<T> : count;
  launch(split_k_sum_kernel<T>, name,
         {.grid = dim3(static_cast<unsigned>(ceil_divide(threads, kSumThreads))),
          .block = dim3(kSumThreads)},
         stream, sum);
}

}  // namespace flyball::cuda::tiles

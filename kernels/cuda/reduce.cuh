#pragma once

#include <cstdint>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vectors.cuh"

// Sums in an order that shapes alone decide. Every function is called by all threads of the block.
namespace flyball::cuda {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

// Over groups of `width` neighbouring lanes, a power of two; the result is in each of them.
template <class T>
__device__ T lane_sum(T x, int width = 32) {
  for (int offset = width / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

template <class T>
__device__ T larger(T a, T b) {
  return a > b ? a : b;
}

template <class T>
__device__ T lane_max(T x, int width = 32) {
  for (int offset = width / 2; offset > 0; offset /= 2) {
    x = larger(x, __shfl_xor_sync(kAllLanes, x, offset));
  }
  return x;
}

// combine(x, width) over the lanes of each warp, then over the warps; the result is in every
// thread. blockDim.x is a multiple of 32; `nothing`: the combination's neutral element.
template <class T, class Combine>
__device__ T combine_block(T x, T nothing, Combine combine) {
  __shared__ T of_warps[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  x = combine(x);
  __syncthreads();  // of_warps may still be read by the call before
  if (lane == 0) of_warps[warp] = x;
  __syncthreads();  // of_warps is complete
  return combine(lane < blockDim.x / 32 ? of_warps[lane] : nothing);
}

template <class T>
__device__ T block_sum(T x) {
  return combine_block(x, T{0}, [](T of_lane) { return lane_sum(of_lane); });
}

template <class T>
__device__ T block_max(T x, T nothing) {
  return combine_block(x, nothing, [](T of_lane) { return lane_max(of_lane); });
}

// True in all threads of the block that comes last, which then sees what the others wrote before.
// *ticket is 0 before the launch. One-dimensional grids.
__device__ inline bool is_last_block(uint32_t* ticket) {
  __shared__ bool last;
  __threadfence();  // this thread's results before the ticket
  __syncthreads();  // all of the block's results before the ticket
  if (threadIdx.x == 0) {
    last = atomicAdd(ticket, 1U) == gridDim.x - 1;
    __threadfence();  // the ticket before the others' results are read
  }
  __syncthreads();  // last is known
  return last;
}

inline constexpr int kColumnThreads = 256;

// How the columns of [rows, columns] are summed: a block takes 4 * width columns of one group of
// rows, `width` threads side by side and kColumnThreads / width above each other.
struct ColumnGrid {
  int width = 1;
  int64_t column_tiles = 1;
  int64_t group_rows = 1;
  int64_t groups = 1;

  int64_t blocks() const { return column_tiles * groups; }
};

inline ColumnGrid column_grid(int64_t rows, int64_t columns) {
  constexpr int64_t kBlocks = 512;    // wanted, to fill a large device
  constexpr int64_t kThreadRows = 4;  // at least
  ColumnGrid grid;
  const int64_t slots = ceil_divide(columns, 4);
  while (grid.width < 32 && grid.width < slots) grid.width *= 2;
  grid.column_tiles = ceil_divide(slots, grid.width);
  const int64_t most_groups = kBlocks / grid.column_tiles > 1 ? kBlocks / grid.column_tiles : 1;
  const int64_t least_rows = kThreadRows * (kColumnThreads / grid.width);
  const int64_t even_rows = ceil_divide(rows, most_groups);
  grid.group_rows = even_rows > least_rows ? even_rows : least_rows;
  grid.groups = rows > 0 ? ceil_divide(rows, grid.group_rows) : 1;
  return grid;
}

// The columns of this thread in the block's tile.
__device__ inline Slot column_slot(int64_t tile, int width, int64_t columns, bool aligned) {
  return slot_at(4 * (tile * width + threadIdx.x % width), columns, aligned && columns % 4 == 0);
}

// totals[j] = the sum over rows [row_begin, row_end) of column j of the thread's slot, in threads
// [0, width). Four rows are added in T, what the kernel computes with, the rest in f64.
// load(row) gives what is read of a row, use(row, loaded) the four elements that are added.
template <class T, class Load, class Use>
__device__ void sum_columns(int64_t row_begin, int64_t row_end, int width, Load load, Use use,
                            double (&totals)[4]) {
  __shared__ double sums[4][kColumnThreads];
  const int above = threadIdx.x / width, height = kColumnThreads / width;
  for (double& total : totals) total = 0;
  for (int64_t row = row_begin + above; row < row_end; row += 4 * height) {
    decltype(load(row)) loaded[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (row + i * height < row_end) loaded[i] = load(row + i * height);
    }
    Four<T> terms[4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (row + i * height < row_end) terms[i] = use(row + i * height, loaded[i]);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      totals[j] += static_cast<double>((terms[0].at[j] + terms[1].at[j]) +
                                       (terms[2].at[j] + terms[3].at[j]));
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) sums[j][threadIdx.x] = totals[j];
  for (int half = height / 2; half > 0; half /= 2) {
    __syncthreads();  // the sums of 2 * half rows of threads are complete
    if (above < half) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[j][threadIdx.x] += sums[j][threadIdx.x + half * width];
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) totals[j] = sums[j][threadIdx.x];
}

// Column sums of groups of rows, and where they go.
template <class T>
struct ColumnResult {
  T* y = nullptr;             // [columns]
  double* partial = nullptr;  // [groups, columns], with several groups
  int64_t columns = 0;
  int64_t groups = 1;
  bool accumulate = false;
};

template <class T>
__device__ void put_column(const ColumnResult<T>& result, int64_t column, double total) {
  const double before = result.accumulate ? static_cast<double>(result.y[column]) : 0;
  result.y[column] = static_cast<T>(before + total);
}

// The end of a block of sum_columns.
template <class T>
__device__ void put_group(const ColumnResult<T>& result, int64_t group, const Slot& slot, int width,
                          const double (&totals)[4]) {
  if (threadIdx.x >= width) return;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j >= slot.count) continue;
    if (result.groups == 1) {
      put_column(result, slot.begin + j, totals[j]);
    } else {
      result.partial[group * result.columns + slot.begin + j] = totals[j];
    }
  }
}

inline constexpr int kGroupColumns = 32, kGroupThreads = 256;

// y (+)= the sum of the groups; 8 threads share a column.
// registers: <= 36
template <class T>
__global__ void __launch_bounds__(kGroupThreads) sum_groups_kernel(ColumnResult<T> result) {
  constexpr int kShares = kGroupThreads / kGroupColumns;
  __shared__ double sums[kShares][kGroupColumns];
  const int lane = threadIdx.x % kGroupColumns, share = threadIdx.x / kGroupColumns;
  const int64_t column = int64_t{blockIdx.x} * kGroupColumns + lane;
  double sum = 0;
  if (column < result.columns) {
#pragma unroll 4
    for (int64_t group = share; group < result.groups; group += kShares) {
      sum += result.partial[group * result.columns + column];
    }
  }
  sums[share][lane] = sum;
  __syncthreads();  // all shares are there
  if (share == 0 && column < result.columns) {
    double total = 0;
    for (int i = 0; i < kShares; ++i) total += sums[i][lane];
    put_column(result, column, total);
  }
}

// The second stage, where there are several groups.
template <class T>
void sum_groups(const ColumnResult<T>& result, cudaStream_t stream) {
  if (result.groups == 1) return;
  const auto blocks = static_cast<unsigned>(ceil_divide(result.columns, kGroupColumns));
  launch(sum_groups_kernel<T>, "sum_groups", {.grid = blocks, .block = kGroupThreads}, stream,
         result);
}

// Bytes of the partial sums of a column grid.
inline int64_t partial_bytes(const ColumnGrid& grid, int64_t columns) {
  return grid.groups == 1 ? 0 : grid.groups * columns * static_cast<int64_t>(sizeof(double));
}

}  // namespace flyball::cuda

#pragma once

#include <cstdint>

#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

// How batch norm cuts [rows, c]: the blocks of a ColumnGrid for sums, and of a taller one for the
// passes that write; both leave two sums of each group of rows and each column to be put together
// by one small launch.
namespace flyball::cuda {

// Blocks whose threads take `thread_rows` rows each.
inline ColumnGrid apply_grid(int64_t rows, int64_t c, int thread_rows) {
  ColumnGrid grid = column_grid(rows, c);
  grid.group_rows = int64_t{thread_rows} * (kColumnThreads / grid.width);
  grid.groups = ceil_divide(rows, grid.group_rows);
  return grid;
}

// The part of [rows, c] that a thread works on: its slot of the rows first, first + height, ...
// below end.
struct ThreadRows {
  Slot slot;
  int64_t group, first, end;
  int height;

  __device__ Slot slot_of(int64_t row) const { return row < end ? slot : Slot{slot.begin}; }
};

__device__ inline ThreadRows rows_of_thread(const ColumnGrid& grid, int64_t rows, int64_t c,
                                            bool aligned) {
  ThreadRows at;
  at.slot = column_slot(blockIdx.x % grid.column_tiles, grid.width, c, aligned);
  at.group = blockIdx.x / grid.column_tiles;
  at.height = kColumnThreads / grid.width;
  at.first = at.group * grid.group_rows + threadIdx.x / grid.width;
  at.end = min((at.group + 1) * grid.group_rows, rows);
  return at;
}

// [c] arrays at the thread's columns.
template <class A>
__device__ Four<A> column_values(const A* values, const Slot& slot) {
  return load(values, {slot.begin, slot.count, slot.whole && are_aligned(values)});
}

// The second stage of sums: blocks of kEndColumns columns, of which kEndShares threads each take
// every so-many-th group.
inline constexpr int kEndColumns = 8, kEndShares = 32;
inline constexpr int kEndThreads = kEndColumns * kEndShares;

inline unsigned end_blocks(int64_t c) { return static_cast<unsigned>(ceil_divide(c, kEndColumns)); }

__device__ inline int end_share() { return threadIdx.x / kEndColumns; }
__device__ inline int64_t end_column() {
  return int64_t{blockIdx.x} * kEndColumns + threadIdx.x % kEndColumns;
}

// The sum of x over the shares of the thread's column, in each of them; always in the same order.
__device__ inline double sum_of_shares(double x) {
  __shared__ double sums[kEndShares][kEndColumns];
  const int column = threadIdx.x % kEndColumns, share = end_share();
  __syncthreads();  // sums may still be read by the call before
  sums[share][column] = x;
  for (int half = kEndShares / 2; half > 0; half /= 2) {
    __syncthreads();  // 2 * half sums are complete
    if (share < half) sums[share][column] += sums[share + half][column];
  }
  __syncthreads();  // the total is there
  return sums[0][column];
}

// Bytes of [groups, 2, c] sums in f64.
inline int64_t group_sum_bytes(const ColumnGrid& grid, int64_t c) {
  return grid.groups * 2 * c * static_cast<int64_t>(sizeof(double));
}

}  // namespace flyball::cuda

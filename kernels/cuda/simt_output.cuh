#pragma once

#include "kernels/cuda/simt_tile.cuh"
#include "kernels/cuda/split_sums.cuh"

// What surrounds the SIMT tile loop: which tile a problem gets, and where a block's sums go.
namespace flyball::cuda::simt {

// A block's tile of c, whose sums become what is stored; start_of(row) is the first element of a
// row in c. No barrier follows. The
// thread's first place passes through empty assembly statements: what depends on it is computed
// here, rather than before the tile loop and kept in registers.
template <class Tile, class T, class StartOf>
__device__ void write_tile(const Output<T>& output, int first_row, int rows, int first_column,
                           T (&sums)[Tile::kThreadM][Tile::kThreadN], StartOf start_of) {
  int thread_row = first_row + Tile::first_row();
  int thread_column = first_column + Tile::first_column();
  asm volatile("" : "+r"(thread_row));
  asm volatile("" : "+r"(thread_column));
#pragma unroll
  for (int i = 0; i < Tile::kThreadM; ++i) {
    const int row = thread_row + i / kWidth<T> * Tile::kRowStride + i % kWidth<T>;
    if (row >= rows) continue;
    T* c = output.c + start_of(row) + thread_column;
#pragma unroll
    for (int g = 0; g < Tile::kThreadN / kWidth<T>; ++g) {
      T vector[kWidth<T>];
#pragma unroll
      for (int j = 0; j < kWidth<T>; ++j) vector[j] = sums[i][g * kWidth<T> + j];
      write_sums(output, c + g * Tile::kColumnStride, thread_column + g * Tile::kColumnStride,
                 vector);
#pragma unroll
      for (int j = 0; j < kWidth<T>; ++j) sums[i][g * kWidth<T> + j] = vector[j];
    }
  }
}

// Where a block's sums go: to c, or, where there are several splits, to its own copy of c.
template <class T>
__device__ Output<T> output_of_split(const Output<T>& output, const Plan& plan, T* partials,
                                     int64_t count) {
  if (plan.splits == 1) return output;
  return partial_output(partials + blockIdx.y * count, output.columns);
}

// The column sums of a block's tile [kM, kN] of stored values: a thread adds up its own rows, and
// the threads of a column are added in their order.
template <class Tile, class T>
__device__ void write_column_sums(const ColumnSums<T>& columns, int first_row, int first_column,
                                  const T (&values)[Tile::kThreadM][Tile::kThreadN]) {
  constexpr int kRowThreads = Tile::kM / Tile::kThreadM;
  __shared__ T partial[kRowThreads][Tile::kN];
  __shared__ T total[Tile::kN];
  const int row_thread = Tile::first_row() / kWidth<T>;
  const auto column_of = [](int j) {
    return Tile::first_column() + j / kWidth<T> * Tile::kColumnStride + j % kWidth<T>;
  };
  const auto over_threads = [&](const T(&mine)[Tile::kThreadN]) {
#pragma unroll
    for (int j = 0; j < Tile::kThreadN; ++j) partial[row_thread][column_of(j)] = mine[j];
    __syncthreads();  // every thread's part is there
    for (int column = threadIdx.x; column < Tile::kN; column += Tile::kThreads) {
      T sum = 0;
      for (int t = 0; t < kRowThreads; ++t) sum += partial[t][column];
      total[column] = sum;
    }
    __syncthreads();  // the totals are there
  };
#pragma unroll
  for (int part = 0; part < (Tile::kM + kSumRows - 1) / kSumRows; ++part) {
    const int tile = first_row / kSumRows + part, rows = columns.rows_of(tile);
    // Whether row i of the thread belongs to this part and exists.
    const auto has = [&](int i) {
      const int row = Tile::first_row() + i / kWidth<T> * Tile::kRowStride + i % kWidth<T>;
      return row / kSumRows == part && row % kSumRows < rows;
    };
    T mine[Tile::kThreadN] = {};
#pragma unroll
    for (int i = 0; i < Tile::kThreadM; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kThreadN; ++j) mine[j] += has(i) ? values[i][j] : T{0};
    }
    over_threads(mine);
    T squares[Tile::kThreadN] = {};
#pragma unroll
    for (int j = 0; j < Tile::kThreadN; ++j) {
      mine[j] = total[column_of(j)];
      const T mean = mine[j] / static_cast<T>(rows);
#pragma unroll
      for (int i = 0; i < Tile::kThreadM; ++i) {
        const T deviation = values[i][j] - mean;
        squares[j] += has(i) ? deviation * deviation : T{0};
      }
    }
    __syncthreads();  // nobody reads the totals any more
    over_threads(squares);
#pragma unroll
    for (int j = 0; j < Tile::kThreadN; ++j) {
      const int column = first_column + column_of(j);
      if (row_thread == 0 && column < columns.columns && rows > 0) {
        columns.write(tile, column, mine[j], total[column_of(j)]);
      }
    }
    __syncthreads();  // nobody reads the totals any more
  }
}

// From the sizes alone. The largest tile is 128 x kLargeN.
template <class T, int kLargeN>
Plan make_plan(int64_t m, int64_t n, int64_t depth, int64_t problems = 1) {
  constexpr int64_t kLeastSteps = 4;
  const int64_t steps = ceil_divide(depth, 4 * kWidth<T>);
  int tile_m = 64, tile_n = 64;
  if constexpr (sizeof(T) == 4) {
    const auto are_enough = [&](int64_t blocks) {
      return blocks * splits_of(blocks, steps, kLeastSteps) >= kWantedBlocks / 2;
    };
    if (n <= 32) {
      tile_n = 32;
      if (m > 64 && are_enough(ceil_divide(m, 128) * problems)) tile_m = 128;
    } else if (m <= 32) {
      tile_m = 32;
    } else if (m > 64 && n > kLargeN / 2 &&
               are_enough(ceil_divide(m, 128) * ceil_divide(n, kLargeN) * problems)) {
      tile_m = 128;
      tile_n = kLargeN;
    }
  }
  return plan_of_tiles(tile_m, tile_n, m, n, steps, problems, kLeastSteps);
}

// Calls function(Tile{}) with the plan's tile.
template <class T, int kLargeN, class Function>
void with_tile(const Plan& plan, Function&& function) {
  if constexpr (sizeof(T) == 8) {
    return function(Tile<T, 64, 64, 4, 4, 2>{});
  } else {
    if (plan.tile_n == 32) {
      return plan.tile_m == 128 ? function(Tile<T, 128, 32, 8, 4, 3>{})
                                : function(Tile<T, 64, 32, 4, 4, 4>{});
    }
    if (plan.tile_m == 128) {
      return function(Tile < T, 128, kLargeN, 8, 8, kLargeN == 128 ? 2 : 3 > {});
    }
    if (plan.tile_m == 32) return function(Tile<T, 32, 64, 4, 4, 4>{});
    return function(Tile<T, 64, 64, 8, 4, 4>{});
  }
}

}  // namespace flyball::cuda::simt

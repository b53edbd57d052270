#pragma once

#include "kernels/cuda/split_sums.cuh"
#include "kernels/cuda/tensor_tile.cuh"

// What surrounds the tensor cores' tile loop: which tile a problem gets, and how a block's sums,
// which are scattered over its lanes, become rows of the result by way of shared memory.
namespace flyball::cuda::tensor {

// Where sums go: in f32 to c or, with several splits, to a copy of c for each of them in the
// workspace; otherwise, f32.c null, to `rounded`.
template <class T>
struct Result {
  Output<float> f32;
  Output<T> rounded;
  int64_t split_stride;  // elements of a split's copy
};

// The block's dynamic shared memory.
template <class T>
__device__ T* shared_memory() {
  extern __shared__ uint4 memory[];
  return reinterpret_cast<T*>(memory);
}

// Sum [row, column] of a tile lies at row * kN + (column ^ exchanged(row)), so that the 4 rows of 8
// columns that half a warp writes lie in different banks.
__device__ inline int exchanged(int row) { return row % 4 * 8; }

// The thread's first place passes through empty assembly statements: what depends on it is computed
// here, rather than before the tile loop and kept in registers.
template <class Tile>
__device__ void stage_sums(float* shared, const typename Tile::Sums& sums) {
  int row = Tile::first_row() + Tile::lane() / 4;
  int column = Tile::first_column() + Tile::lane() % 4 * 2;
  asm volatile("" : "+r"(row));
  asm volatile("" : "+r"(column));
#pragma unroll
  for (int i = 0; i < Tile::kTilesM; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kTilesN; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = row + i * 16 + half * 8;
        const float two[2] = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
        write_vector(shared + r * Tile::kN + ((column + j * 8) ^ exchanged(r)), two);
      }
    }
  }
  __syncthreads();  // the tile is complete
}

// The staged tile's rows, in groups of four columns. kKeep: what is stored goes back to shared
// memory.
template <class Tile, bool kKeep, class T, class StartOf>
__device__ void write_rows(const Output<T>& output, int first_row, int rows, int first_column,
                           float* shared, StartOf start_of) {
  constexpr int kAcross = Tile::kN / 4, kDown = Tile::kThreads / kAcross;
  const int column = static_cast<int>(threadIdx.x) % kAcross * 4;
#pragma unroll 4
  for (int row = static_cast<int>(threadIdx.x) / kAcross; row < Tile::kM; row += kDown) {
    if (first_row + row >= rows) break;
    float* place = shared + row * Tile::kN + (column ^ exchanged(row));
    float values[4];
    read_vector(place, values);
    write_sums(output, output.c + start_of(first_row + row) + first_column + column,
               first_column + column, values);
    if constexpr (kKeep) write_vector(place, values);
  }
}

// A block's tile of the result; start_of(row) is the first element of a row in it.
template <class Tile, bool kKeep, class T, class StartOf>
__device__ void write_tile(const Result<T>& result, int first_row, int rows, int first_column,
                           const typename Tile::Sums& sums, StartOf start_of) {
  auto* shared = shared_memory<float>();
  stage_sums<Tile>(shared, sums);
  if (std::is_same_v<T, float> || result.f32.c != nullptr) {
    Output<float> output = result.f32;
    output.c += blockIdx.y * result.split_stride;
    write_rows<Tile, kKeep>(output, first_row, rows, first_column, shared, start_of);
  } else {
    write_rows<Tile, kKeep>(result.rounded, first_row, rows, first_column, shared, start_of);
  }
}

// The column sums of a tile whose stored values are in shared memory: a thread has one column of
// kSumRows rows at a time.
template <class Tile>
__device__ void write_column_sums(const ColumnSums<float>& columns, int first_row,
                                  int first_column) {
  static_assert(Tile::kM % kSumRows == 0);
  const auto* shared = shared_memory<float>();
  __syncthreads();  // the stored values are there
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kN * (Tile::kM / kSumRows);
       i += Tile::kThreads) {
    const int column = i % Tile::kN, part = i / Tile::kN;
    const int tile = first_row / kSumRows + part, rows = columns.rows_of(tile);
    if (rows <= 0 || first_column + column >= columns.columns) continue;
    const float* values = shared + part * kSumRows * Tile::kN;
    const auto value = [&](int row) { return values[row * Tile::kN + (column ^ exchanged(row))]; };
    float sum = 0, squares = 0;
#pragma unroll 8
    for (int row = 0; row < rows; ++row) sum += value(row);
    const float mean = sum / static_cast<float>(rows);
#pragma unroll 8
    for (int row = 0; row < rows; ++row) {
      const float deviation = value(row) - mean;
      squares += deviation * deviation;
    }
    columns.write(tile, first_column + column, sum, squares);
  }
}

// From the sizes alone: the larger tiles where they fill half of a large device.
template <class T>
Plan make_plan(int64_t m, int64_t n, int64_t depth, int64_t problems = 1) {
  constexpr int64_t kLeastSteps = 8;  // twice the stages
  const int64_t steps = ceil_divide(depth, 4 * kWidth<T>);
  const auto fills = [&](int64_t tile_n) {
    const int64_t blocks = ceil_divide(m, 128) * ceil_divide(n, tile_n) * problems;
    return blocks * splits_of(blocks, steps, kLeastSteps) >= kWantedBlocks / 2;
  };
  if (m > 64 && n > 64 && fills(128))
    return plan_of_tiles(128, 128, m, n, steps, problems, kLeastSteps);
  if (m > 64 && fills(64)) return plan_of_tiles(128, 64, m, n, steps, problems, kLeastSteps);
  return plan_of_tiles(64, 64, m, n, steps, problems, kLeastSteps);
}

// Calls function(Tile{}) with the plan's tile.
template <class T, class Function>
void with_tile(const Plan& plan, Function&& function) {
  if (plan.tile_n == 128) return function(Tile<T, 128, 128, 64, 32, 2>{});
  if (plan.tile_m == 128) return function(Tile<T, 128, 64, 64, 32, 3>{});
  return function(Tile<T, 64, 64, 32, 32, 4>{});
}

// Runs the kernel with the plan's grid and the tile's shared memory.
template <class Tile, class Task>
void launch_tiles(void (*kernel)(Task), const char* name, const Plan& plan, cudaStream_t stream,
                  const Task& task) {
  launch(kernel, name,
         {.grid = plan.grid(), .block = dim3(Tile::kThreads), .shared_bytes = Tile::kSharedBytes},
         stream, task);
}

template <class T, class Out>
Result<T> result_of(const Output<Out>& output, const Plan& plan, float* partials, int64_t count) {
  Result<T> result{.f32 = {}, .rounded = {}, .split_stride = count};
  if (plan.splits > 1) {
    result.f32 = partial_output(partials, output.columns);
  } else if constexpr (std::is_same_v<Out, float>) {
    result.f32 = output;
  } else {
    result.rounded = output;
  }
  return result;
}

}  // namespace flyball::cuda::tensor

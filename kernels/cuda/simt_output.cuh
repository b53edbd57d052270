#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/simt_tile.cuh"

// What surrounds the tile loop: which tile a problem gets, how its depth is split over blocks,
// where sums go, and the second stage that adds up the splits.
namespace flyball::cuda::simt {

// c[..., columns] = relu?(sums + bias?), or c += sums. vectors: c is aligned and columns a multiple
// of the width.
template <class T>
struct Output {
  T* c;
  const T* bias;
  int columns;
  bool relu, accumulate, vectors;
};

// The sum for one element of c that holds `before`.
template <class T>
__device__ T finished(const Output<T>& output, int column, T sum, T before) {
  if (output.bias != nullptr) sum += output.bias[column];
  if (output.relu && sum < 0) sum = 0;
  return output.accumulate ? before + sum : sum;
}

// A vector of a row of c.
template <class T>
__device__ void write_sums(const Output<T>& output, T* c, int column, T (&sums)[kWidth<T>]) {
  if (output.vectors) {
    if (column >= output.columns) return;
    T values[kWidth<T>] = {};
    if (output.accumulate) read_vector(c, values);
#pragma unroll
    for (int j = 0; j < kWidth<T>; ++j) {
      values[j] = finished(output, column + j, sums[j], values[j]);
    }
    write_vector(c, values);
    return;
  }
#pragma unroll
  for (int j = 0; j < kWidth<T>; ++j) {
    if (column + j < output.columns) {
      c[j] = finished(output, column + j, sums[j], output.accumulate ? c[j] : T{0});
    }
  }
}

// A block's tile of c; start_of(row) is the first element of a row in c. No barrier follows. The
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
    }
  }
}

// The grid: x the tiles of c, y the splits of the depth, z independent problems.
struct Plan {
  int tile_m = 0, tile_n = 0;
  int m_tiles = 0, n_tiles = 0;
  int splits = 1;
  int split_steps = 0;  // steps of the depth in one split
  int problems = 1;

  dim3 grid() const {
    return dim3(static_cast<unsigned>(m_tiles) * static_cast<unsigned>(n_tiles),
                static_cast<unsigned>(splits), static_cast<unsigned>(problems));
  }
};

// From the sizes alone: two blocks for each multiprocessor of a large device, no split below 4
// steps. The largest tile is 128 x kLargeN.
template <class T, int kLargeN>
Plan make_plan(int64_t m, int64_t n, int64_t depth, int64_t problems = 1) {
  constexpr int64_t kWantedBlocks = 264, kMaximumSplits = 128, kMinimumSteps = 4;
  const int64_t steps = ceil_divide(depth, 4 * kWidth<T>);
  const auto splits_of = [&](int64_t blocks) {
    const int64_t wanted =
        std::min({kWantedBlocks / blocks, kMaximumSplits, steps / kMinimumSteps});
    return std::max<int64_t>(wanted, 1);
  };
  Plan plan{.tile_m = 64, .tile_n = 64, .problems = static_cast<int>(problems)};
  if constexpr (sizeof(T) == 4) {
    const int64_t large_blocks = ceil_divide(m, 128) * ceil_divide(n, kLargeN) * problems;
    if (n <= 32) {
      plan.tile_n = 32;
    } else if (m <= 32) {
      plan.tile_m = 32;
    } else if (m > 64 && n > kLargeN / 2 &&
               large_blocks * splits_of(large_blocks) >= kWantedBlocks / 2) {
      plan.tile_m = 128;
      plan.tile_n = kLargeN;
    }
  }
  const int64_t m_tiles = ceil_divide(m, plan.tile_m), n_tiles = ceil_divide(n, plan.tile_n);
  if (m_tiles * n_tiles > 0x7FFFFFFF || problems > 0xFFFF) {
    throw Error(str("tiles: ", m_tiles, " x ", n_tiles, " in ", problems,
                    " problems, expected at most 2147483647 in 65535"));
  }
  plan.m_tiles = static_cast<int>(m_tiles);
  plan.n_tiles = static_cast<int>(n_tiles);
  const int64_t splits = splits_of(m_tiles * n_tiles * problems);
  plan.split_steps = static_cast<int>(std::max<int64_t>(ceil_divide(steps, splits), 1));
  plan.splits = static_cast<int>(std::max<int64_t>(ceil_divide(steps, plan.split_steps), 1));
  return plan;
}

// Calls function(Tile{}) with the plan's tile.
template <class T, int kLargeN, class Function>
void with_tile(const Plan& plan, Function&& function) {
  if constexpr (sizeof(T) == 8) {
    return function(Tile<T, 64, 64, 4, 4, 2>{});
  } else {
    if (plan.tile_m == 128) {
      return function(Tile < T, 128, kLargeN, 8, 8, kLargeN == 128 ? 2 : 3 > {});
    }
    if (plan.tile_n == 32) return function(Tile<T, 64, 32, 4, 4, 4>{});
    if (plan.tile_m == 32) return function(Tile<T, 32, 64, 4, 4, 4>{});
    return function(Tile<T, 64, 64, 8, 4, 4>{});
  }
}

// Calls function(std::bool_constant...) with the flags.
template <class Function, class... Flags>
void with_flags(Function&& function, bool flag, Flags... flags) {
  const auto rest = [&](auto constant) {
    if constexpr (sizeof...(Flags) == 0) {
      function(constant);
    } else {
      with_flags([&](auto... others) { function(constant, others...); }, flags...);
    }
  };
  flag ? rest(std::true_type{}) : rest(std::false_type{});
}

// The block's place in the plan. Neighbours share rows and columns: up to 16 tiles down, then
// across.
struct Place {
  int first_row, first_column;
  int begin, end;  // steps

  template <class Tile>
  static __device__ Place of(const Plan& plan, int depth) {
    constexpr int kDown = 16;
    const int tile = static_cast<int>(blockIdx.x);
    const int group = tile / (kDown * plan.n_tiles), within = tile % (kDown * plan.n_tiles);
    const int down = min(kDown, plan.m_tiles - group * kDown);
    const int steps = (depth + Tile::kDepth - 1) / Tile::kDepth;
    const int begin = static_cast<int>(blockIdx.y) * plan.split_steps;
    return {(group * kDown + within % down) * Tile::kM, within / down * Tile::kN, begin,
            min(begin + plan.split_steps, steps)};
  }
};

// Where a split's sums go: to c, or, where there are several, to its own copy of c in the
// workspace.
template <class T>
__device__ Output<T> output_of_split(const Output<T>& output, const Plan& plan, T* partials,
                                     int64_t count) {
  if (plan.splits == 1) return output;
  return {.c = partials + blockIdx.y * count,
          .bias = nullptr,
          .columns = output.columns,
          .relu = false,
          .accumulate = false,
          .vectors = output.columns % kWidth<T> == 0};
}

template <class T>
struct SplitSum {
  const T* partials;  // [splits, count]
  Output<T> output;   // [count / columns, columns]
  int64_t count;
  int splits;
};

constexpr int kSumThreads = 256;

// c = the splits' sums, added in their order. The splits of one thread are loads without
// dependence.
// registers: <= 40
template <class T>
__global__ void __launch_bounds__(kSumThreads) split_k_sum_kernel(const SplitSum<T> sum) {
  const int64_t i = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  const int columns = sum.output.columns;
  if (sum.output.vectors) {
    const int64_t at = i * kWidth<T>;
    if (at >= sum.count) return;
    T total[kWidth<T>] = {};
#pragma unroll 4
    for (int s = 0; s < sum.splits; ++s) {
      T part[kWidth<T>];
      read_vector(sum.partials + s * sum.count + at, part);
#pragma unroll
      for (int j = 0; j < kWidth<T>; ++j) total[j] += part[j];
    }
    const auto column = static_cast<int>(at % columns);
    write_sums(sum.output, sum.output.c + at, column, total);
    return;
  }
  if (i >= sum.count) return;
  T total = 0;
#pragma unroll 4
  for (int s = 0; s < sum.splits; ++s) total += sum.partials[s * sum.count + i];
  T* c = sum.output.c + i;
  *c =
      finished(sum.output, static_cast<int>(i % columns), total, sum.output.accumulate ? *c : T{0});
}

inline int64_t partial_bytes(const Plan& plan, int64_t count, size_t element_bytes) {
  return plan.splits == 1 ? 0 : plan.splits * count * static_cast<int64_t>(element_bytes);
}

template <class T>
bool is_aligned(const T* data) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

// Whether rows of `extent` elements consist of whole aligned vectors.
template <class T>
bool is_whole(const T* data, int64_t extent) {
  return is_aligned(data) && extent % kWidth<T> == 0;
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
void add_splits(const Plan& plan, const T* partials, const Output<T>& output, int64_t count,
                const char* name, cudaStream_t stream) {
  if (plan.splits == 1) return;
  const int64_t threads = output.vectors ? count / kWidth<T> : count;
  launch(
      split_k_sum_kernel<T>, name,
      {.grid = dim3(static_cast<unsigned>(ceil_divide(threads, kSumThreads))),
       .block = dim3(kSumThreads)},
      stream,
      SplitSum<T>{.partials = partials, .output = output, .count = count, .splits = plan.splits});
}

// Throws where a size does not fit the kernels' 32-bit indices inside a tile.
inline void check_extent(const char* name, int64_t extent) {
  if (extent > 0x7FFFFFFF - 128) {
    throw Error(str(name, " is ", extent, ", expected at most 2147483519"));
  }
}

}  // namespace flyball::cuda::simt

#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/conv2d.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tile_operands.cuh"
#include "kernels/cuda/widen.cuh"

// What surrounds the tile loops: which tiles and splits of the depth a problem has, and how sums
// become elements of the result.
namespace flyball::cuda::tiles {

// Elements of the result that one thread writes at once: as many sums as fill 16 bytes.
template <class T>
inline constexpr int kGroup = kWidth<Accumulator<T>>;

// c[..., columns] = relu?(sums + bias?), or c += sums. groups: c is aligned and columns a multiple
// of the group.
template <class T>
struct Output {
  T* c;
  const Accumulator<T>* bias;
  int columns;
  bool relu, accumulate, groups;
};

// The value for one element of c that holds `before`.
template <class T>
__device__ Accumulator<T> finished(const Output<T>& output, int column, Accumulator<T> sum,
                                   Accumulator<T> before) {
  if (output.bias != nullptr) sum += output.bias[column];
  if (output.relu && sum < 0) sum = 0;
  return output.accumulate ? before + sum : sum;
}

// A group of a row of c; the sums become what is stored.
template <class T>
__device__ void write_sums(const Output<T>& output, T* c, int column,
                           Accumulator<T> (&sums)[kGroup<T>]) {
  if (output.groups) {
    if (column >= output.columns) return;
    T values[kGroup<T>] = {};
    if (output.accumulate) read_vector(c, values);
#pragma unroll
    for (int j = 0; j < kGroup<T>; ++j) {
      values[j] = narrowed<T>(finished(output, column + j, sums[j], widened(values[j])));
      sums[j] = widened(values[j]);
    }
    write_vector(c, values);
    return;
  }
#pragma unroll
  for (int j = 0; j < kGroup<T>; ++j) {
    if (column + j < output.columns) {
      const T value =
          narrowed<T>(finished(output, column + j, sums[j], output.accumulate ? widened(c[j]) : 0));
      c[j] = value;
      sums[j] = widened(value);
    }
  }
}

// For each column, the sum and the sum of squared deviations over each kSumRows rows of a result:
// to[tile, 2, columns], or none where `to` is null.
inline constexpr int kSumRows = kColumnSumRows;
template <class T>
struct ColumnSums {
  T* to;
  int rows, columns;

  __device__ int rows_of(int tile) const { return min(kSumRows, rows - tile * kSumRows); }
  __device__ void write(int tile, int column, T sum, T squares) const {
    T* place = to + int64_t{2} * tile * columns + column;
    place[0] = sum;
    place[columns] = squares;
  }
};

// The grid: x the tiles of c, y the splits of the depth, z independent problems.
struct Plan {
  int tile_m = 0, tile_n = 0;
  int m_tiles = 0, n_tiles = 0;
  int splits = 1;
  int split_steps = 0;  // steps of the depth in one split
  int problems = 1;

  // Splits of at most `of_split` of the depth's steps.
  void cut_depth(int64_t steps, int64_t of_split) {
    split_steps = static_cast<int>(std::max<int64_t>(of_split, 1));
    splits = static_cast<int>(std::max<int64_t>(ceil_divide(steps, split_steps), 1));
  }

  dim3 grid() const {
    return dim3(static_cast<unsigned>(m_tiles) * static_cast<unsigned>(n_tiles),
                static_cast<unsigned>(splits), static_cast<unsigned>(problems));
  }
};

// Two blocks for each multiprocessor of a large device, no split below `least` steps.
inline constexpr int64_t kWantedBlocks = 264, kMaximumSplits = 128;

inline int64_t splits_of(int64_t blocks, int64_t steps, int64_t least) {
  const int64_t wanted = std::min({kWantedBlocks / blocks, kMaximumSplits, steps / least});
  return std::max<int64_t>(wanted, 1);
}

// The plan for tiles [tile_m, tile_n] of a result [m, n] whose sums take `steps` steps.
inline Plan plan_of_tiles(int tile_m, int tile_n, int64_t m, int64_t n, int64_t steps,
                          int64_t problems, int64_t least) {
  const int64_t m_tiles = ceil_divide(m, tile_m), n_tiles = ceil_divide(n, tile_n);
  if (m_tiles * n_tiles > 0x7FFFFFFF || problems > 0xFFFF) {
    throw Error(str("tiles: ", m_tiles, " x ", n_tiles, " in ", problems,
                    " problems, expected at most 2147483647 in 65535"));
  }
  const int64_t splits = splits_of(m_tiles * n_tiles * problems, steps, least);
  const int64_t split_steps = std::max<int64_t>(ceil_divide(steps, splits), 1);
  return {.tile_m = tile_m,
          .tile_n = tile_n,
          .m_tiles = static_cast<int>(m_tiles),
          .n_tiles = static_cast<int>(n_tiles),
          .splits = static_cast<int>(std::max<int64_t>(ceil_divide(steps, split_steps), 1)),
          .split_steps = static_cast<int>(split_steps),
          .problems = static_cast<int>(problems)};
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
// across. blockIdx passes through an empty assembly statement, so that a second call computes
// everything again rather than keeping it in registers through the tile loop.
struct Place {
  int first_row, first_column;
  int begin, end;  // steps

  template <class Tile>
  static __device__ Place of(const Plan& plan, int depth) {
    constexpr int kDown = 16;
    int tile = static_cast<int>(blockIdx.x);
    asm volatile("" : "+r"(tile));
    const int group = tile / (kDown * plan.n_tiles), within = tile % (kDown * plan.n_tiles);
    const int down = min(kDown, plan.m_tiles - group * kDown);
    const int steps = (depth + Tile::kDepth - 1) / Tile::kDepth;
    const int begin = static_cast<int>(blockIdx.y) * plan.split_steps;
    return {(group * kDown + within % down) * Tile::kM, within / down * Tile::kN, begin,
            min(begin + plan.split_steps, steps)};
  }
};

template <class T>
bool is_aligned(const T* data) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

// Whether rows of `extent` elements consist of whole aligned vectors.
template <class T>
bool is_whole(const T* data, int64_t extent) {
  return is_aligned(data) && extent % kWidth<T> == 0;
}

// The same for groups of a result.
template <class T>
bool has_groups(const T* c, int64_t columns) {
  return reinterpret_cast<uintptr_t>(c) % (kGroup<T> * sizeof(T)) == 0 && columns % kGroup<T> == 0;
}

// Throws where a size does not fit the kernels' 32-bit indices inside a tile.
inline void check_extent(const char* name, int64_t extent) {
  if (extent > 0x7FFFFFFF - 128) {
    throw Error(str(name, " is ", extent, ", expected at most 2147483519"));
  }
}

}  // namespace flyball::cuda::tiles

#pragma once

#include <type_traits>

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/tile_operands.cuh"

// Products of matrices on tensor cores: the loop that gemm and conv2d share in bf16 and tf32. T is
// the element in memory: bf16, or float, which is rounded to tf32 on its way into the tensor core.
// A tile of an operand has 64 bytes of depth, two steps of a tensor core, and lies in shared memory
// as its 16-byte vectors lie in global memory: [rows][64 bytes] or [depth][rows].
namespace flyball::cuda::tensor {

using namespace tiles;

// A block's tile [kM, kN] of the result; a warp has kWarpM x kWarpN of it. kBlocks: of a
// multiprocessor, which its 65536 registers have to leave room for.
template <class T, int kM_, int kN_, int kWarpM_, int kWarpN_, int kBlocks_>
struct Tile {
  using Element = T;
  static constexpr int kM = kM_, kN = kN_, kWarpM = kWarpM_, kWarpN = kWarpN_;
  static constexpr int kDepth = 4 * kWidth<T>;  // 64 bytes: 32 bf16, 16 f32
  static constexpr int kWarpsN = kN / kWarpN;
  static constexpr int kThreads = kM / kWarpM * kWarpsN * 32;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kStages = 4;                  // three on their way while one is multiplied
  static constexpr int kStage = (kM + kN) * kDepth;  // elements of both operands
  // The stages, and afterwards the block's sums in f32: 64 KB for 128 x 128.
  static constexpr int kStageBytes = kStages * kStage * static_cast<int>(sizeof(T));
  static constexpr int kSumBytes = kM * kN * 4;
  static constexpr int kSharedBytes = kStageBytes > kSumBytes ? kStageBytes : kSumBytes;
  // A warp's sums: tiles of 16 x 8, 4 of each in a lane, as in mma.cuh.
  static constexpr int kTilesM = kWarpM / 16, kTilesN = kWarpN / 8;
  using Sums = float[kTilesM][kTilesN][4];

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ int first_row() {
    return static_cast<int>(threadIdx.x) / 32 / kWarpsN * kWarpM;
  }
  static __device__ int first_column() {
    return static_cast<int>(threadIdx.x) / 32 % kWarpsN * kWarpN;
  }
};

// Where a vector lies in a tile, in elements. Vectors of one line of 128 bytes are exchanged, so
// that the 8 vectors, or 32 words, that one access of a warp's part reads are in different banks.
//   [rows][64 bytes], read 8 rows at one vector: a line has two rows, four lines four exchanges.
template <class T>
__device__ int vector_along_depth(int row, int vector) {
  return (row * 4 + (vector ^ row / 2 % 4)) * kWidth<T>;
}
//   [depth][rows] of bf16, read 8 depths at one vector; of f32, read 4 depths at 8 rows.
template <class T>
__device__ int exchange_along_rows(int depth) {
  return sizeof(T) == 2 ? depth % 8 : depth % 4 * 2;
}

template <class Placement>
__device__ int place_of_vector(int v) {
  using T = typename Placement::Element;
  const int row = Placement::row(v), depth = Placement::depth(v);
  if constexpr (Placement::kDepthIsContiguous) {
    return vector_along_depth<T>(row, depth / kWidth<T>);
  } else {
    return depth * Placement::kRows + (row / kWidth<T> ^ exchange_along_rows<T>(depth)) * kWidth<T>;
  }
}

// Four registers: 16 rows from `row` on, a multiple of 8, at step `step` of a tile's depth.
// kRowsFirst: [0], [1] are the first 8 and the next 8 rows of the step's first half, [2], [3] of
// its second half (operand a). Otherwise [0], [1] are both halves of the first 8 rows, [2], [3] of
// the next 8 (two operands b).
template <class Placement, bool kRowsFirst, class T>
__device__ void read_fragments(const T* tile, int row, int step, unsigned (&to)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // The matrix whose address this lane gives.
  const int matrix_row = (kRowsFirst ? lane / 8 % 2 : lane / 16) * 8;
  const int matrix_half = kRowsFirst ? lane / 16 : lane / 8 % 2;
  if constexpr (Placement::kDepthIsContiguous) {
    const int lane_row = matrix_row + lane % 8;
    const int place = vector_along_depth<T>(lane_row, 2 * step + matrix_half);
    load_matrices(to, tile + row * 4 * kWidth<T> + place);
  } else if constexpr (std::is_same_v<T, bf16>) {
    const int depth = step * 16 + matrix_half * 8 + lane % 8;
    const int vector = (row + matrix_row) / 8 ^ exchange_along_rows<T>(lane % 8);
    load_matrices_transposed(to, tile + depth * Placement::kRows + vector * 8);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int down = (kRowsFirst ? i % 2 : i / 2) * 8, half = kRowsFirst ? i / 2 : i % 2;
      const int depth = step * 8 + half * 4 + lane % 4;
      const int at = (row + down + lane / 4) ^ exchange_along_rows<T>(lane % 4) * 4;
      to[i] = __float_as_uint(tile[depth * Placement::kRows + at]);
    }
  }
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (unsigned& bits : to) bits = round_to_tf32(bits);
  }
}

// sums += a * b over one stage of shared memory: a's tile, then b's.
template <class Tile, class InA, class InB, class T>
__device__ void multiply_stage(const T* stage, typename Tile::Sums& sums) {
  const T* b_tile = stage + Tile::kM * Tile::kDepth;
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    unsigned a[Tile::kTilesM][4], b[Tile::kTilesN / 2][4];
#pragma unroll
    for (int i = 0; i < Tile::kTilesM; ++i) {
      read_fragments<InA, true>(stage, Tile::first_row() + i * 16, step, a[i]);
    }
#pragma unroll
    for (int j = 0; j < Tile::kTilesN / 2; ++j) {
      read_fragments<InB, false>(b_tile, Tile::first_column() + j * 16, step, b[j]);
    }
#pragma unroll
    for (int i = 0; i < Tile::kTilesM; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kTilesN; ++j) {
        const unsigned half[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        multiply_add<T>(sums[i][j], a[i], half);
      }
    }
  }
}

// A thread's vectors of one operand's next tile on their way into shared memory: as asynchronous
// copies, or, where elements are looked for one by one, through registers.
template <class Loader>
struct Copies {
  using Placement = typename Loader::Placement;
  using T = typename Placement::Element;
  T values[Placement::kVectors][kWidth<T>];

  __device__ void begin(const Loader& loader, T* tile) {
#pragma unroll
    for (int v = 0; v < Placement::kVectors; ++v) {
      if constexpr (Loader::kWhole) {
        const T* at;
        const bool inside = loader.find(v, at);
        copy_async(tile + place_of_vector<Placement>(v), at, inside);
      } else {
        loader.load(v, values[v]);
      }
    }
  }
  __device__ void end(T* tile) {
    if constexpr (!Loader::kWhole) {
#pragma unroll
      for (int v = 0; v < Placement::kVectors; ++v) {
        write_vector(tile + place_of_vector<Placement>(v), values[v]);
      }
    }
  }
};

// sums = a * b over `steps` tiles, in their order. `shared` has kStages stages and is free again
// when the function returns.
template <class Tile, class A, class B>
__device__ void multiply_tiles(A& a, B& b, int steps, typename Tile::Element* shared,
                               typename Tile::Sums& sums) {
  using T = typename Tile::Element;
  constexpr int kAhead = Tile::kStages - 1;
  Copies<A> next_a;
  Copies<B> next_b;
  const auto begin = [&](int stage) {
    T* tile = shared + stage * Tile::kStage;
    next_a.begin(a, tile);
    next_b.begin(b, tile + Tile::kM * Tile::kDepth);
    a.advance();
    b.advance();
  };
  const auto end = [&](int stage) {
    T* tile = shared + stage * Tile::kStage;
    next_a.end(tile);
    next_b.end(tile + Tile::kM * Tile::kDepth);
  };
#pragma unroll
  for (auto& row : sums) {
#pragma unroll
    for (auto& tile : row) {
#pragma unroll
      for (float& sum : tile) sum = 0;
    }
  }
#pragma unroll 1
  for (int stage = 0; stage < kAhead; ++stage) {
    if (stage < steps) {
      begin(stage);
      end(stage);
    }
    commit_copies();  // a group for each step, so that their count tells which have arrived
  }
  int current = 0, next = kAhead;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_copies<kAhead - 1>();  // this thread's part of the current stage has arrived
    __syncthreads();            // everybody's has, and nobody reads the next stage any more
    const bool more = step + kAhead < steps;
    if (more) begin(next);
    commit_copies();
    multiply_stage<Tile, typename A::Placement, typename B::Placement>(
        shared + current * Tile::kStage, sums);
    if (more) end(next);
    current = current + 1 == Tile::kStages ? 0 : current + 1;
    next = next + 1 == Tile::kStages ? 0 : next + 1;
  }
  wait_copies<0>();  // none may land in what the caller writes there
  __syncthreads();   // nobody reads the last stage any more
}

}  // namespace flyball::cuda::tensor

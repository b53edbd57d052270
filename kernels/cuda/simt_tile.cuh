#pragma once

#include "kernels/cuda/tile_operands.cuh"

// Products of matrices by tiles that live in registers: the loop that gemm and conv2d share in f32
// and f64. A tile of an operand lies in shared memory as [kDepth][kM] or [kDepth][kN].
namespace flyball::cuda::simt {

using namespace tiles;

// A block's tile [kM, kN] of the result; a thread has kThreadM x kThreadN of it. kBlocks: of a
// multiprocessor, which its 65536 registers have to leave room for.
template <class T, int kM_, int kN_, int kThreadM_, int kThreadN_, int kBlocks_>
struct Tile {
  using Element = T;
  static constexpr int kM = kM_, kN = kN_, kThreadM = kThreadM_, kThreadN = kThreadN_;
  static constexpr int kDepth = 4 * kWidth<T>;  // 64 bytes: 16 f32, 8 f64
  static constexpr int kThreads = (kM / kThreadM) * (kN / kThreadN);
  static constexpr int kBlocks = kBlocks_;
  // Two stages of both operands' tiles: 32 KB for 128 x 128.
  static constexpr int kStage = (kM + kN) * kDepth;
  static constexpr int kShared = 2 * kStage;

  // A warp has 4 x 8 threads, so that 8 neighbours read 128 bytes of b, and one vector of a. A
  // thread's rows and columns come in vectors kM / (kThreadM / width) apart.
  static constexpr int kRowStride = kM * kWidth<T> / kThreadM;
  static constexpr int kColumnStride = kN * kWidth<T> / kThreadN;
  static constexpr int kWarpsN = kN / kThreadN / 8;
  static __device__ int first_row() {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    return (warp / kWarpsN * 4 + lane / 8) * kWidth<T>;
  }
  static __device__ int first_column() {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    return (warp % kWarpsN * 8 + lane % 8) * kWidth<T>;
  }
};

// Element (depth, row) of a tile [kDepth][kRows] lies at depth * kRows + (row ^ swizzle(depth)).
// Vectors along the rows stay whole; the four vectors along the depth of one row, which four
// neighbouring lanes write element by element, fall into four different quarters of the banks.
template <class T>
__device__ constexpr int swizzle(int depth) {
  return 2 * kWidth<T> * (depth / kWidth<T>);
}

// Vector v of this thread goes to its place in a tile.
template <class Placement, class T>
__device__ void store_vector(T* tile, int v, const T (&values)[kWidth<T>]) {
  const int row = Placement::row(v), depth = Placement::depth(v);
  if constexpr (Placement::kDepthIsContiguous) {
#pragma unroll
    for (int j = 0; j < kWidth<T>; ++j) {
      tile[(depth + j) * Placement::kRows + (row ^ swizzle<T>(depth))] = values[j];
    }
  } else {
    write_vector(tile + depth * Placement::kRows + (row ^ swizzle<T>(depth)), values);
  }
}

// A thread's kCount rows of one depth of a tile, in vectors kStride apart.
template <int kCount, int kStride, class T>
__device__ void read_rows(const T* row_of_tile, T (&to)[kCount]) {
#pragma unroll
  for (int g = 0; g < kCount / kWidth<T>; ++g) {
    T vector[kWidth<T>];
    read_vector(row_of_tile + g * kStride, vector);
#pragma unroll
    for (int j = 0; j < kWidth<T>; ++j) to[g * kWidth<T> + j] = vector[j];
  }
}

// sums += a * b over the depths [begin, end) of a stage of shared memory: a [kDepth][kM], then
// b [kDepth][kN]. The depths of one vector share a swizzle; unrolling no further than them keeps a
// thread's registers below 128.
template <class Tile, class T>
__device__ void multiply_stage(const T* stage, int begin, int end,
                               T (&sums)[Tile::kThreadM][Tile::kThreadN]) {
#pragma unroll 1
  for (int first = begin; first < end; first += kWidth<T>) {
    const T* a = stage + first * Tile::kM + (Tile::first_row() ^ swizzle<T>(first));
    const T* b = stage + Tile::kDepth * Tile::kM + first * Tile::kN +
                 (Tile::first_column() ^ swizzle<T>(first));
#pragma unroll
    for (int d = 0; d < kWidth<T>; ++d) {
      T column[Tile::kThreadM], row[Tile::kThreadN];
      read_rows<Tile::kThreadM, Tile::kRowStride>(a + d * Tile::kM, column);
      read_rows<Tile::kThreadN, Tile::kColumnStride>(b + d * Tile::kN, row);
#pragma unroll
      for (int i = 0; i < Tile::kThreadM; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::kThreadN; ++j) sums[i][j] += column[i] * row[j];
      }
    }
  }
}

// sums = a * b over `steps` tiles, in their order, through two stages of shared memory. A part of
// the next tiles, one vector of each operand, is on its way into registers while the same part of
// this stage is multiplied.
template <class Tile, class A, class B>
__device__ void multiply_tiles(A& a, B& b, int steps,
                               typename Tile::Element (&sums)[Tile::kThreadM][Tile::kThreadN]) {
  using T = typename Tile::Element;
  using InA = typename A::Placement;
  using InB = typename B::Placement;
  constexpr int kParts = InA::kVectors > InB::kVectors ? InA::kVectors : InB::kVectors;
  constexpr int kPartDepth = Tile::kDepth / kParts;
  __shared__ alignas(16) T shared[Tile::kShared];
  T next_a[kWidth<T>], next_b[kWidth<T>];
  const auto load = [&](int part) {
    if (part < InA::kVectors) a.load(part, next_a);
    if (part < InB::kVectors) b.load(part, next_b);
  };
  const auto store = [&](T* stage, int part) {
    if (part < InA::kVectors) store_vector<InA>(stage, part, next_a);
    if (part < InB::kVectors) store_vector<InB>(stage + Tile::kDepth * Tile::kM, part, next_b);
  };
#pragma unroll
  for (int i = 0; i < Tile::kThreadM; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kThreadN; ++j) sums[i][j] = 0;
  }
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    load(part);
    store(shared, part);
  }
  __syncthreads();  // the first stage is complete
  int current = 0;  // where the stage that is multiplied begins
  for (int left = steps; left > 0; --left) {
    const bool more = left > 1;
    a.advance();
    b.advance();
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (more) load(part);
      multiply_stage<Tile>(shared + current, part * kPartDepth, (part + 1) * kPartDepth, sums);
      if (more) store(shared + (Tile::kStage - current), part);
    }
    __syncthreads();  // the next stage is complete, and nobody reads this one any more
    current = Tile::kStage - current;
  }
}

}  // namespace flyball::cuda::simt

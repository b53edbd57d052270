#pragma once

#include <cstdint>

// Products of matrices by tiles that live in registers: the loop that gemm and conv2d share.
//   sums[kM, kN] of a block = a[kM, depth] * b[kN, depth]^T
// Both operands are cut along the depth into tiles [kDepth][kM] and [kDepth][kN]; loaders say where
// an element of the operand lies in global memory (a matrix here, windows of images in
// simt_windows.cuh) and give zeros outside of it.
namespace flyball::cuda::simt {

// Elements of a 16-byte vector.
template <class T>
inline constexpr int kWidth = 16 / static_cast<int>(sizeof(T));

template <class T>
struct alignas(16) Vector {
  T at[kWidth<T>];
};
template <class T>
__device__ void read_vector(const T* from, T (&to)[kWidth<T>]) {
  const Vector<T> vector = *reinterpret_cast<const Vector<T>*>(from);
#pragma unroll
  for (int j = 0; j < kWidth<T>; ++j) to[j] = vector.at[j];
}
template <class T>
__device__ void write_vector(T* to, const T (&from)[kWidth<T>]) {
  Vector<T> vector;
#pragma unroll
  for (int j = 0; j < kWidth<T>; ++j) vector.at[j] = from[j];
  *reinterpret_cast<Vector<T>*>(to) = vector;
}

// The next elements at `from`, of which `left` exist; kWhole: none, or a whole aligned vector.
template <bool kWhole, class T>
__device__ void read_or_zero(const T* from, int left, T (&to)[kWidth<T>]) {
#pragma unroll
  for (int j = 0; j < kWidth<T>; ++j) to[j] = !kWhole && j < left ? from[j] : T{0};
  if (kWhole && left > 0) read_vector(from, to);
}

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

// How a thread's kVectors vectors of a tile lie, kRowStep or kDepthStep apart, for operands whose
// depth is contiguous in memory: four threads read the 64 bytes of a row.
template <class T, int kRows, int kThreads>
struct AlongDepth {
  using Element = T;
  static constexpr bool kDepthIsContiguous = true;
  static constexpr int kVectors = kRows * 4 / kThreads;
  static constexpr int kRowStep = kThreads / 4, kDepthStep = 0;
  static __device__ int row(int v) { return static_cast<int>(threadIdx.x) / 4 + v * kRowStep; }
  static __device__ int depth(int) { return static_cast<int>(threadIdx.x) % 4 * kWidth<T>; }
  static __device__ void store(T* tile, int v, const T (&values)[kWidth<T>]) {
#pragma unroll
    for (int j = 0; j < kWidth<T>; ++j) {
      tile[(depth(v) + j) * kRows + (row(v) ^ swizzle<T>(depth(v)))] = values[j];
    }
  }
};

// The same for operands whose rows are contiguous: kAcross threads read one depth.
template <class T, int kRows, int kThreads>
struct AlongRows {
  using Element = T;
  static constexpr bool kDepthIsContiguous = false;
  static constexpr int kVectors = kRows * 4 / kThreads;
  static constexpr int kAcross = kRows / kWidth<T>;
  static constexpr int kRowStep = 0, kDepthStep = kThreads / kAcross;
  static __device__ int row(int) { return static_cast<int>(threadIdx.x) % kAcross * kWidth<T>; }
  static __device__ int depth(int v) {
    return static_cast<int>(threadIdx.x) / kAcross + v * kDepthStep;
  }
  static __device__ void store(T* tile, int v, const T (&values)[kWidth<T>]) {
    write_vector(tile + depth(v) * kRows + (row(v) ^ swizzle<T>(depth(v))), values);
  }
};

// [rows, depth] at data[row * stride + depth], or, where rows are contiguous, data[depth * stride +
// row].
template <class T>
struct Matrix {
  const T* data;
  int64_t stride;
  int rows, depth;
};

// Loads one tile of a matrix after the other, vector by vector. kWhole: data is aligned and the
// contiguous extent a multiple of the width, so that a vector is inside or outside as a whole.
template <class Placement_, bool kWhole>
struct MatrixTiles {
  using Placement = Placement_;
  using T = typename Placement::Element;
  static constexpr bool kAlongDepth = Placement::kDepthIsContiguous;
  const T* from;  // the thread's first element of this tile
  int64_t stride;
  int rows, depth;  // of the matrix, from there on

  __device__ MatrixTiles(const Matrix<T>& matrix, int first_row, int first_step)
      : stride(matrix.stride) {
    const int row = first_row + Placement::row(0);
    const int first_depth = first_step * 4 * kWidth<T> + Placement::depth(0);
    from = matrix.data + (kAlongDepth ? row * stride + first_depth : first_depth * stride + row);
    rows = matrix.rows - row;
    depth = matrix.depth - first_depth;
    if (kWhole && !kAlongDepth && rows <= 0) depth = 0;  // one number says that nothing is left
  }
  __device__ void load(int v, T (&values)[kWidth<T>]) const {
    const int down = v * Placement::kRowStep, along = v * Placement::kDepthStep;
    const bool inside = along < depth && (kWhole && !kAlongDepth ? true : down < rows);
    const int left = !inside ? 0 : kWhole ? kWidth<T> : kAlongDepth ? depth : rows;
    read_or_zero<kWhole>(from + (kAlongDepth ? down : along) * stride, left, values);
  }
  __device__ void advance() {
    from += kAlongDepth ? 4 * kWidth<T> : 4 * kWidth<T> * stride;
    depth -= 4 * kWidth<T>;
  }
};

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
    if (part < InA::kVectors) InA::store(stage, part, next_a);
    if (part < InB::kVectors) InB::store(stage + Tile::kDepth * Tile::kM, part, next_b);
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

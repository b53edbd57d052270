#pragma once

#include <cstdint>

// The operands of a product of matrices by tiles,
//   sums[kM, kN] of a block = a[kM, depth] * b[kN, depth]^T,
// for the loops of simt_tile.cuh and tensor_tile.cuh. Both are cut along the depth into tiles of 64
// bytes. Placements say which elements of a tile a thread loads; loaders say where they lie in
// global memory (a matrix here, windows of images in tile_windows.cuh) and give zeros outside of
// it.
namespace flyball::cuda::tiles {

// Elements of a 16-byte vector, the unit of loads.
template <class T>
inline constexpr int kWidth = 16 / static_cast<int>(sizeof(T));

template <class T, int kCount>
struct alignas(kCount * sizeof(T)) Vector {
  T at[kCount];
};
template <class T, int kCount>
__device__ void read_vector(const T* from, T (&to)[kCount]) {
  const auto vector = *reinterpret_cast<const Vector<T, kCount>*>(from);
#pragma unroll
  for (int j = 0; j < kCount; ++j) to[j] = vector.at[j];
}
template <class T, int kCount>
__device__ void write_vector(T* to, const T (&from)[kCount]) {
  Vector<T, kCount> vector;
#pragma unroll
  for (int j = 0; j < kCount; ++j) vector.at[j] = from[j];
  *reinterpret_cast<Vector<T, kCount>*>(to) = vector;
}

// The next elements at `from`, of which `left` exist; kWhole: none, or a whole aligned vector.
template <bool kWhole, class T>
__device__ void read_or_zero(const T* from, int left, T (&to)[kWidth<T>]) {
#pragma unroll
  for (int j = 0; j < kWidth<T>; ++j) to[j] = !kWhole && j < left ? from[j] : T{};
  if (kWhole && left > 0) read_vector(from, to);
}

// How a thread's kVectors vectors of a tile lie, kRowStep or kDepthStep apart, for operands whose
// depth is contiguous in memory: four threads read the 64 bytes of a row.
template <class T, int kRows_, int kThreads>
struct AlongDepth {
  using Element = T;
  static constexpr bool kDepthIsContiguous = true;
  static constexpr int kRows = kRows_;
  static constexpr int kVectors = kRows * 4 / kThreads;
  static constexpr int kRowStep = kThreads / 4, kDepthStep = 0;
  static __device__ int row(int v) { return static_cast<int>(threadIdx.x) / 4 + v * kRowStep; }
  static __device__ int depth(int) { return static_cast<int>(threadIdx.x) % 4 * kWidth<T>; }
};

// The same for operands whose rows are contiguous: kAcross threads read one depth.
template <class T, int kRows_, int kThreads>
struct AlongRows {
  using Element = T;
  static constexpr bool kDepthIsContiguous = false;
  static constexpr int kRows = kRows_;
  static constexpr int kVectors = kRows * 4 / kThreads;
  static constexpr int kAcross = kRows / kWidth<T>;
  static constexpr int kRowStep = 0, kDepthStep = kThreads / kAcross;
  static __device__ int row(int) { return static_cast<int>(threadIdx.x) % kAcross * kWidth<T>; }
  static __device__ int depth(int v) {
    return static_cast<int>(threadIdx.x) / kAcross + v * kDepthStep;
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
template <class Placement_, bool kWhole_>
struct MatrixTiles {
  using Placement = Placement_;
  using T = typename Placement::Element;
  static constexpr bool kWhole = kWhole_;
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
  // kWhole: whether vector v is inside, and its place.
  __device__ bool find(int v, const T*& at) const {
    at = from + (kAlongDepth ? v * Placement::kRowStep : v * Placement::kDepthStep) * stride;
    return v * Placement::kDepthStep < depth &&
           (kWhole && !kAlongDepth ? true : v * Placement::kRowStep < rows);
  }
  __device__ void load(int v, T (&values)[kWidth<T>]) const {
    const T* at;
    const bool inside = find(v, at);
    const int left = !inside ? 0 : kWhole ? kWidth<T> : kAlongDepth ? depth : rows;
    read_or_zero<kWhole>(at, left, values);
  }
  __device__ void advance() {
    from += kAlongDepth ? 4 * kWidth<T> : 4 * kWidth<T> * stride;
    depth -= 4 * kWidth<T>;
  }
};

}  // namespace flyball::cuda::tiles

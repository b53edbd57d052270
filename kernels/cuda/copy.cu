#include "kernels/copy.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vectors.cuh"

namespace flyball::cuda {
namespace {

constexpr int kTile = 32;     // rows and columns of a transposed tile
constexpr int kTileRows = 8;  // that a block moves at a time

// registers: <= 36
template <class From, class To>
__global__ void __launch_bounds__(kMapThreads) cast_kernel(Cast<From, To> a) {
  map_elements<From>(
      a.count, a.to, [](Accumulator<From> x) { return static_cast<Accumulator<To>>(x); }, a.from);
}

// Through a tile in shared memory, so that both sides are read and written along their rows.
// registers: <= 24
template <class T>
__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(Transpose<T> a) {
  __shared__ T tile[kTile][kTile + 1];  // one more column: no bank conflicts
  const int64_t column_tiles = (a.columns + kTile - 1) / kTile;
  const int64_t row_begin = blockIdx.x / column_tiles * kTile;
  const int64_t column_begin = blockIdx.x % column_tiles * kTile;
  const int lane = threadIdx.x % kTile, line = threadIdx.x / kTile;
#pragma unroll
  for (int i = line; i < kTile; i += kTileRows) {
    const int64_t row = row_begin + i, column = column_begin + lane;
    if (row < a.rows && column < a.columns) tile[i][lane] = a.x[row * a.columns + column];
  }
  __syncthreads();  // the tile is complete
#pragma unroll
  for (int i = line; i < kTile; i += kTileRows) {
    const int64_t column = column_begin + i, row = row_begin + lane;
    if (row < a.rows && column < a.columns) a.y[column * a.rows + row] = tile[lane][i];
  }
}

}  // namespace

void copy(const Copy& a, cudaStream_t stream) {
  check(
      cudaMemcpyAsync(a.to, a.from, static_cast<size_t>(a.bytes), cudaMemcpyDeviceToDevice, stream),
      "copy", std::source_location::current());
}

template <class From, class To>
void cast(const Cast<From, To>& a, cudaStream_t stream) {
  if (a.count == 0) return;
  const auto blocks = static_cast<unsigned>(ceil_divide(a.count, kMapTile));
  launch(cast_kernel<From, To>, "cast", {.grid = blocks, .block = kMapThreads}, stream, a);
}

template <class T>
void transpose(const Transpose<T>& a, cudaStream_t stream) {
  if (a.rows == 0 || a.columns == 0) return;
  const auto blocks =
      static_cast<unsigned>(ceil_divide(a.rows, kTile) * ceil_divide(a.columns, kTile));
  launch(transpose_kernel<T>, "transpose", {.grid = blocks, .block = kTile * kTileRows}, stream, a);
}

template void cast(const Cast<float, double>&, cudaStream_t);
template void cast(const Cast<double, float>&, cudaStream_t);
template void cast(const Cast<uint8_t, float>&, cudaStream_t);
template void cast(const Cast<int32_t, float>&, cudaStream_t);
template void cast(const Cast<float, bf16>&, cudaStream_t);
template void cast(const Cast<bf16, float>&, cudaStream_t);
template void transpose(const Transpose<float>&, cudaStream_t);
template void transpose(const Transpose<double>&, cudaStream_t);
template void transpose(const Transpose<bf16>&, cudaStream_t);

}  // namespace flyball::cuda

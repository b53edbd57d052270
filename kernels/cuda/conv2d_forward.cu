#include "kernels/conv2d.h"

#include "kernels/cuda/simt_output.cuh"
#include "kernels/cuda/tensor_dispatch.cuh"
#include "kernels/cuda/tile_windows.cuh"

// y[n*p*q, k] = windows(x)[n*p*q, r*s*c] * filters[k, r*s*c]^T, the windows read from x itself. The
// sums run over r, s, c in this order; few outputs with long sums are split over blocks.
namespace flyball::cuda {
namespace {

using namespace simt;

// The largest tile is 128 x 64: 8 x 8 outputs and the windows' places need 168 registers.
constexpr int kLargeN = 64;

template <class T>
struct ForwardTask {
  Windows<T> x;
  Matrix<T> filters;  // [k, r*s*c]
  Output<T> y;
  T* partials;
  int64_t count;  // n*p*q * k
  ColumnSums<T> column_sums;
  Plan plan;
};

// registers: <= 168
template <class Tile, bool kWhole, bool kColumnSums>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    conv2d_forward_kernel(const ForwardTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  const Place place = Place::of<Tile>(task.plan, task.x.elements);
  // load, multiply: sums [kM windows, kN filters]
  WindowsByElement<AlongDepth<T, Tile::kM, Tile::kThreads>, 1, kWhole> x(task.x, place.first_row,
                                                                         place.begin);
  MatrixTiles<AlongDepth<T, Tile::kN, Tile::kThreads>, kWhole> filters(
      task.filters, place.first_column, place.begin);
  T sums[Tile::kThreadM][Tile::kThreadN];
  multiply_tiles<Tile>(x, filters, place.end - place.begin, sums);
  // store
  const int64_t stride = task.y.columns;
  write_tile<Tile>(output_of_split(task.y, task.plan, task.partials, task.count), place.first_row,
                   task.x.count, place.first_column, sums,
                   [stride](int window) { return window * stride; });
  if constexpr (kColumnSums) {
    write_column_sums<Tile>(task.column_sums, place.first_row, place.first_column, sums);
  }
}

template <class T>
Plan plan_of(const Conv2dShape& d) {
  return make_plan<T, kLargeN>(d.n * d.p() * d.q(), d.k, d.r * d.s * d.c);
}

template <class T>
void conv2d_forward_simt(const Conv2dForward<T>& f, cudaStream_t stream) {
  const Conv2dShape& d = f.shape;
  const int64_t count = d.n * d.p() * d.q() * d.k;
  const auto k = static_cast<int>(d.k), rsc = static_cast<int>(d.r * d.s * d.c);
  ForwardTask<T> task{.x = windows_of(f.x, d),
                      .filters = {f.filters, rsc, k, rsc},
                      .y = {f.y, f.bias, k, f.relu, false, has_groups(f.y, k)},
                      .count = count,
                      .column_sums = {f.column_sums, static_cast<int>(d.n * d.p() * d.q()), k},
                      .plan = plan_of<T>(d)};
  task.partials = partials_of<T>(f.workspace, task.plan, "conv2d_forward");
  with_tile<T, kLargeN>(task.plan, [&](auto tile) {
    with_flags(
        [&](auto... flags) {
          launch(conv2d_forward_kernel<decltype(tile), flags.value...>, "conv2d_forward",
                 {.grid = task.plan.grid(), .block = dim3(tile.kThreads)}, stream, task);
        },
        is_whole(f.x, d.c) && is_whole(f.filters, d.c),
        f.column_sums != nullptr && task.plan.splits == 1);
  });
  add_splits(task.plan, task.partials, task.y, count, "conv2d_forward: sum of splits", stream,
             task.column_sums);
}

}  // namespace

template <class T>
int64_t conv2d_forward_workspace_bytes(const Conv2dForward<T>& f) {
  const Conv2dShape& d = f.shape;
  const int64_t count = d.n * d.p() * d.q() * d.k;
  if (count == 0) return 0;
  return tensor::dispatch<T>(
      f, [](const auto& x) { return tensor::conv2d_forward_workspace_bytes(x); },
      [count](const auto& x) { return partial_bytes(plan_of<T>(x.shape), count, sizeof(T)); });
}

template <class T>
void conv2d_forward(const Conv2dForward<T>& f, cudaStream_t stream) {
  const Conv2dShape& d = f.shape;
  if (d.n * d.p() * d.q() * d.k == 0) return;
  check_shape(d);
  tensor::dispatch<T>(
      f, [stream](const auto& x) { tensor::conv2d_forward(x, stream); },
      [stream](const auto& x) { conv2d_forward_simt(x, stream); });
}

template int64_t conv2d_forward_workspace_bytes(const Conv2dForward<float>&);
template int64_t conv2d_forward_workspace_bytes(const Conv2dForward<double>&);
template int64_t conv2d_forward_workspace_bytes(const Conv2dForward<bf16>&);
template void conv2d_forward(const Conv2dForward<float>&, cudaStream_t);
template void conv2d_forward(const Conv2dForward<double>&, cudaStream_t);
template void conv2d_forward(const Conv2dForward<bf16>&, cudaStream_t);

}  // namespace flyball::cuda

#include "kernels/conv2d.h"

#include "kernels/cuda/simt_output.cuh"
#include "kernels/cuda/tensor_dispatch.cuh"
#include "kernels/cuda/tile_windows.cuh"

// dfilters[k, r*s*c] (+)= dy[n*p*q, k]^T * windows(x)[n*p*q, r*s*c]. The sum over n*p*q is long and
// the result small: it is split over blocks, and the splits are added in their order.
namespace flyball::cuda {
namespace {

using namespace simt;

// The largest tile is 128 x 64: 8 x 8 outputs and the windows' places need 168 registers.
constexpr int kLargeN = 64;

template <class T>
struct BackwardWeightsTask {
  Matrix<T> dy;  // [k, n*p*q], k contiguous
  Windows<T> x;
  Output<T> dfilters;
  T* partials;
  int64_t count;  // k * r*s*c
  Plan plan;
};

// registers: <= 168
template <class Tile, bool kWhole>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    conv2d_backward_weights_kernel(const BackwardWeightsTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  const Place place = Place::of<Tile>(task.plan, task.x.count);
  // load, multiply: sums [kM filters, kN window elements]
  MatrixTiles<AlongRows<T, Tile::kM, Tile::kThreads>, kWhole> dy(task.dy, place.first_row,
                                                                 place.begin);
  ElementsByWindow<AlongRows<T, Tile::kN, Tile::kThreads>, kWhole> x(task.x, place.first_column,
                                                                     place.begin);
  T sums[Tile::kThreadM][Tile::kThreadN];
  multiply_tiles<Tile>(dy, x, place.end - place.begin, sums);
  // store
  const int64_t stride = task.dfilters.columns;
  write_tile<Tile>(output_of_split(task.dfilters, task.plan, task.partials, task.count),
                   place.first_row, task.dy.rows, place.first_column, sums,
                   [stride](int filter) { return filter * stride; });
}

template <class T>
Plan plan_of(const Conv2dShape& d) {
  return make_plan<T, kLargeN>(d.k, d.r * d.s * d.c, d.n * d.p() * d.q());
}

template <class T>
void conv2d_backward_weights_simt(const Conv2dBackwardWeights<T>& b, cudaStream_t stream) {
  const Conv2dShape& d = b.shape;
  const int64_t count = d.k * d.r * d.s * d.c;
  const auto k = static_cast<int>(d.k), rsc = static_cast<int>(d.r * d.s * d.c);
  BackwardWeightsTask<T> task{
      .dy = {b.dy, k, k, static_cast<int>(d.n * d.p() * d.q())},
      .x = windows_of(b.x, d),
      .dfilters = {b.dfilters, nullptr, rsc, false, b.accumulate, has_groups(b.dfilters, rsc)},
      .count = count,
      .plan = plan_of<T>(d)};
  task.partials = partials_of<T>(b.workspace, task.plan, "conv2d_backward_weights");
  with_tile<T, kLargeN>(task.plan, [&](auto tile) {
    with_flags(
        [&](auto whole) {
          launch(conv2d_backward_weights_kernel<decltype(tile), whole.value>,
                 "conv2d_backward_weights",
                 {.grid = task.plan.grid(), .block = dim3(tile.kThreads)}, stream, task);
        },
        is_whole(b.x, d.c) && is_whole(b.dy, d.k));
  });
  add_splits(task.plan, task.partials, task.dfilters, count,
             "conv2d_backward_weights: sum of splits", stream);
}

}  // namespace

template <class T>
int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<T>& b) {
  const Conv2dShape& d = b.shape;
  const int64_t count = d.k * d.r * d.s * d.c;
  if (count == 0) return 0;
  return tensor::dispatch<T>(
      b, [](const auto& x) { return tensor::conv2d_backward_weights_workspace_bytes(x); },
      [count](const auto& x) { return partial_bytes(plan_of<T>(x.shape), count, sizeof(T)); });
}

template <class T>
void conv2d_backward_weights(const Conv2dBackwardWeights<T>& b, cudaStream_t stream) {
  const Conv2dShape& d = b.shape;
  if (d.k * d.r * d.s * d.c == 0) return;
  check_shape(d);
  tensor::dispatch<T>(
      b, [stream](const auto& x) { tensor::conv2d_backward_weights(x, stream); },
      [stream](const auto& x) { conv2d_backward_weights_simt(x, stream); });
}

template int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<float>&);
template int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<double>&);
template int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<bf16>&);
template void conv2d_backward_weights(const Conv2dBackwardWeights<float>&, cudaStream_t);
template void conv2d_backward_weights(const Conv2dBackwardWeights<double>&, cudaStream_t);
template void conv2d_backward_weights(const Conv2dBackwardWeights<bf16>&, cudaStream_t);

}  // namespace flyball::cuda

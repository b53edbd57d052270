#include <type_traits>

#include "kernels/cuda/tensor_dispatch.cuh"
#include "kernels/cuda/tensor_output.cuh"
#include "kernels/cuda/tile_windows.cuh"

// dfilters[k, r*s*c] (+)= dy[n*p*q, k]^T * windows(x)[n*p*q, r*s*c] on tensor cores, in f32. The
// sum over n*p*q is long and the result small: it is split over blocks, and the splits are added in
// their order.
namespace flyball::cuda::tensor {
namespace {

template <class T>
struct BackwardWeightsTask {
  Matrix<T> dy;  // [k, n*p*q], k contiguous
  Windows<T> x;
  Result<T> dfilters;
  Plan plan;
};

// registers: <= 248
template <class Tile, bool kWhole>
__global__ void __launch_bounds__(Tile::kThreads, kWhole ? Tile::kBlocks : 1)
    conv2d_backward_weights_tensor_kernel(const BackwardWeightsTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  const Place place = Place::of<Tile>(task.plan, task.x.count);
  // load, multiply: sums [kM filters, kN window elements]
  MatrixTiles<AlongRows<T, Tile::kM, Tile::kThreads>, kWhole> dy(task.dy, place.first_row,
                                                                 place.begin);
  ElementsByWindow<AlongRows<T, Tile::kN, Tile::kThreads>, kWhole> x(task.x, place.first_column,
                                                                     place.begin);
  typename Tile::Sums sums;
  multiply_tiles<Tile>(dy, x, place.end - place.begin, shared_memory<T>(), sums);
  // store
  const Place to = Place::of<Tile>(task.plan, task.x.count);
  const int64_t stride = task.x.elements;
  write_tile<Tile, false>(task.dfilters, to.first_row, task.dy.rows, to.first_column, sums,
                          [stride](int filter) { return filter * stride; });
}

template <class T>
Plan plan_of(const Conv2dShape& d) {
  return make_plan<T>(d.k, d.r * d.s * d.c, d.n * d.p() * d.q());
}

}  // namespace

template <class T>
int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<T>& b) {
  const Conv2dShape& d = b.shape;
  return partial_bytes(plan_of<T>(d), d.k * d.r * d.s * d.c, sizeof(float));
}

template <class T>
void conv2d_backward_weights(const Conv2dBackwardWeights<T>& b, cudaStream_t stream) {
  require_tensor_cores(std::is_same_v<T, bf16> ? "conv2d: bf16" : "conv2d: tf32");
  const Conv2dShape& d = b.shape;
  const auto k = static_cast<int>(d.k), rsc = static_cast<int>(d.r * d.s * d.c);
  const int64_t count = d.k * d.r * d.s * d.c;
  const Plan plan = plan_of<T>(d);
  const Output<float> output{b.dfilters, nullptr,      rsc,
                             false,      b.accumulate, has_groups(b.dfilters, rsc)};
  float* partials = partials_of<float>(b.workspace, plan, "conv2d_backward_weights");
  const BackwardWeightsTask<T> task{.dy = {b.dy, k, k, static_cast<int>(d.n * d.p() * d.q())},
                                    .x = windows_of(b.x, d),
                                    .dfilters = result_of<T>(output, plan, partials, count),
                                    .plan = plan};
  with_tile<T>(plan, [&](auto tile) {
    with_flags(
        [&](auto whole) {
          launch_tiles<decltype(tile)>(
              conv2d_backward_weights_tensor_kernel<decltype(tile), whole.value>,
              "conv2d_backward_weights", plan, stream, task);
        },
        is_whole(b.x, d.c) && is_whole(b.dy, d.k));
  });
  add_splits(plan, partials, output, count, "conv2d_backward_weights: sum of splits", stream);
}

template int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<float>&);
template int64_t conv2d_backward_weights_workspace_bytes(const Conv2dBackwardWeights<bf16>&);
template void conv2d_backward_weights(const Conv2dBackwardWeights<float>&, cudaStream_t);
template void conv2d_backward_weights(const Conv2dBackwardWeights<bf16>&, cudaStream_t);

}  // namespace flyball::cuda::tensor

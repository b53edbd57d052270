#include <type_traits>

#include "kernels/cuda/tensor_dispatch.cuh"
#include "kernels/cuda/tensor_output.cuh"
#include "kernels/cuda/tile_windows.cuh"

// y[n*p*q, k] = windows(x)[n*p*q, r*s*c] * filters[k, r*s*c]^T on tensor cores, the windows read
// from x itself.
namespace flyball::cuda::tensor {
namespace {

template <class T>
struct ForwardTask {
  Windows<T> x;
  Matrix<T> filters;  // [k, r*s*c]
  Result<T> y;
  ColumnSums<float> column_sums;
  Plan plan;
};

// registers: <= 216
template <class Tile, bool kWhole, bool kColumnSums>
__global__ void __launch_bounds__(Tile::kThreads, kWhole ? Tile::kBlocks : 1)
    conv2d_forward_tensor_kernel(const ForwardTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  const Place place = Place::of<Tile>(task.plan, task.x.elements);
  // load, multiply: sums [kM windows, kN filters]
  WindowsByElement<AlongDepth<T, Tile::kM, Tile::kThreads>, 1, kWhole> x(task.x, place.first_row,
                                                                         place.begin);
  MatrixTiles<AlongDepth<T, Tile::kN, Tile::kThreads>, kWhole> filters(
      task.filters, place.first_column, place.begin);
  typename Tile::Sums sums;
  multiply_tiles<Tile>(x, filters, place.end - place.begin, shared_memory<T>(), sums);
  // store
  const Place to = Place::of<Tile>(task.plan, task.x.elements);
  const int64_t stride = task.filters.rows;
  write_tile<Tile, kColumnSums>(task.y, to.first_row, task.x.count, to.first_column, sums,
                                [stride](int window) { return window * stride; });
  if constexpr (kColumnSums) {
    write_column_sums<Tile>(task.column_sums, to.first_row, to.first_column);
  }
}

template <class T>
Plan plan_of(const Conv2dShape& d) {
  return make_plan<T>(d.n * d.p() * d.q(), d.k, d.r * d.s * d.c);
}

}  // namespace

template <class T>
int64_t conv2d_forward_workspace_bytes(const Conv2dForward<T>& f) {
  const Conv2dShape& d = f.shape;
  return partial_bytes(plan_of<T>(d), d.n * d.p() * d.q() * d.k, sizeof(float));
}

template <class T>
void conv2d_forward(const Conv2dForward<T>& f, cudaStream_t stream) {
  require_tensor_cores(std::is_same_v<T, bf16> ? "conv2d: bf16" : "conv2d: tf32");
  const Conv2dShape& d = f.shape;
  const auto k = static_cast<int>(d.k), rsc = static_cast<int>(d.r * d.s * d.c);
  const int64_t windows = d.n * d.p() * d.q(), count = windows * d.k;
  const Plan plan = plan_of<T>(d);
  const Output<T> output{f.y, f.bias, k, f.relu, false, has_groups(f.y, k)};
  float* partials = partials_of<float>(f.workspace, plan, "conv2d_forward");
  const ForwardTask<T> task{.x = windows_of(f.x, d),
                            .filters = {f.filters, rsc, k, rsc},
                            .y = result_of<T>(output, plan, partials, count),
                            .column_sums = {f.column_sums, static_cast<int>(windows), k},
                            .plan = plan};
  with_tile<T>(plan, [&](auto tile) {
    with_flags(
        [&](auto... flags) {
          launch_tiles<decltype(tile)>(conv2d_forward_tensor_kernel<decltype(tile), flags.value...>,
                                       "conv2d_forward", plan, stream, task);
        },
        is_whole(f.x, d.c) && is_whole(f.filters, d.c),
        f.column_sums != nullptr && plan.splits == 1);
  });
  add_splits(plan, partials, output, count, "conv2d_forward: sum of splits", stream,
             task.column_sums);
}

template int64_t conv2d_forward_workspace_bytes(const Conv2dForward<float>&);
template int64_t conv2d_forward_workspace_bytes(const Conv2dForward<bf16>&);
template void conv2d_forward(const Conv2dForward<float>&, cudaStream_t);
template void conv2d_forward(const Conv2dForward<bf16>&, cudaStream_t);

}  // namespace flyball::cuda::tensor

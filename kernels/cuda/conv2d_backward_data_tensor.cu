#include <type_traits>

#include "kernels/cuda/conv2d_classes.cuh"
#include "kernels/cuda/tensor_dispatch.cuh"
#include "kernels/cuda/tensor_output.cuh"

// dx[n*h*w, c] (+)= windows(dy) * filters on tensor cores, by the classes of pixels of
// conv2d_classes.cuh.
namespace flyball::cuda::tensor {
namespace {

template <class T>
struct BackwardDataTask {
  DataGradient<T> gradient;
  Result<T> dx;
  Plan plan;
};

// registers: <= 240
template <class Tile, bool kWhole>
__global__ void __launch_bounds__(Tile::kThreads, kWhole ? Tile::kBlocks : 1)
    conv2d_backward_data_tensor_kernel(const BackwardDataTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  const auto [down, across] = Classes::of_block(task.gradient);
  const Windows<T> windows = windows_of(task.gradient, down, across);
  const Place place = Place::of<Tile>(task.plan, windows.elements);
  const int steps = place.first_row < windows.count ? place.end - place.begin : 0;
  // load, multiply: sums [kM pixels, kN channels]
  WindowsByElement<AlongDepth<T, Tile::kM, Tile::kThreads>, -1, kWhole> dy(windows, place.first_row,
                                                                           place.begin);
  auto filters = filters_of<AlongRows<T, Tile::kN, Tile::kThreads>, kWhole>(
      task.gradient, down, across, windows.elements, place.first_column, place.begin);
  typename Tile::Sums sums;
  multiply_tiles<Tile>(dy, filters, steps, shared_memory<T>(), sums);
  // store
  const Classes classes = Classes::of_block(task.gradient);
  write_tile<Tile, false>(task.dx, place.first_row, windows.count, place.first_column, sums,
                          [&](int pixel) { return start_of_pixel(task.gradient, classes, pixel); });
}

template <class T>
Plan plan_of(const Conv2dShape& d) {
  return make_plan<T>(most_pixels(d), d.c, most_elements(d), d.stride * d.stride);
}

}  // namespace

template <class T>
int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<T>& b) {
  const Conv2dShape& d = b.shape;
  return partial_bytes(plan_of<T>(d), d.n * d.h * d.w * d.c, sizeof(float));
}

template <class T>
void conv2d_backward_data(const Conv2dBackwardData<T>& b, cudaStream_t stream) {
  require_tensor_cores(std::is_same_v<T, bf16> ? "conv2d: bf16" : "conv2d: tf32");
  const Conv2dShape& d = b.shape;
  const auto c = static_cast<int>(d.c);
  const int64_t count = d.n * d.h * d.w * d.c;
  const Plan plan = plan_of<T>(d);
  const Output<T> output{b.dx, nullptr, c, false, b.accumulate, has_groups(b.dx, c)};
  float* partials = partials_of<float>(b.workspace, plan, "conv2d_backward_data");
  const BackwardDataTask<T> task{.gradient = data_gradient_of(b),
                                 .dx = result_of<T>(output, plan, partials, count),
                                 .plan = plan};
  with_tile<T>(plan, [&](auto tile) {
    with_flags(
        [&](auto whole) {
          launch_tiles<decltype(tile)>(
              conv2d_backward_data_tensor_kernel<decltype(tile), whole.value>,
              "conv2d_backward_data", plan, stream, task);
        },
        is_whole(b.dy, d.k) && is_whole(b.filters, d.c));
  });
  add_splits(plan, partials, output, count, "conv2d_backward_data: sum of splits", stream);
}

template int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<float>&);
template int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<bf16>&);
template void conv2d_backward_data(const Conv2dBackwardData<float>&, cudaStream_t);
template void conv2d_backward_data(const Conv2dBackwardData<bf16>&, cudaStream_t);

}  // namespace flyball::cuda::tensor

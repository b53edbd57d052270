#include "kernels/conv2d.h"

#include "kernels/cuda/conv2d_classes.cuh"
#include "kernels/cuda/simt_output.cuh"
#include "kernels/cuda/tensor_dispatch.cuh"

// dx[n*h*w, c] (+)= windows(dy) * filters, by the classes of pixels of conv2d_classes.cuh. Every
// element is summed by one thread (or one for each split), in the order of r, s, k.
namespace flyball::cuda {
namespace {

using namespace simt;

// The largest tile is 128 x 64: 8 x 8 outputs and the windows' places need 168 registers.
constexpr int kLargeN = 64;

template <class T>
struct BackwardDataTask {
  DataGradient<T> gradient;
  Output<T> dx;
  T* partials;
  int64_t count;  // n*h*w * c
  Plan plan;
};

// registers: <= 168
template <class Tile, bool kWhole>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    conv2d_backward_data_kernel(const BackwardDataTask<typename Tile::Element> task) {
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
  T sums[Tile::kThreadM][Tile::kThreadN];
  multiply_tiles<Tile>(dy, filters, steps, sums);
  // store
  const Classes classes = Classes::of_block(task.gradient);
  write_tile<Tile>(output_of_split(task.dx, task.plan, task.partials, task.count), place.first_row,
                   windows.count, place.first_column, sums,
                   [&](int pixel) { return start_of_pixel(task.gradient, classes, pixel); });
}

template <class T>
Plan plan_of(const Conv2dShape& d) {
  return make_plan<T, kLargeN>(most_pixels(d), d.c, most_elements(d), d.stride * d.stride);
}

template <class T>
void conv2d_backward_data_simt(const Conv2dBackwardData<T>& b, cudaStream_t stream) {
  const Conv2dShape& d = b.shape;
  const int64_t count = d.n * d.h * d.w * d.c;
  BackwardDataTask<T> task{
      .gradient = data_gradient_of(b),
      .dx = {b.dx, nullptr, static_cast<int>(d.c), false, b.accumulate, has_groups(b.dx, d.c)},
      .count = count,
      .plan = plan_of<T>(d)};
  task.partials = partials_of<T>(b.workspace, task.plan, "conv2d_backward_data");
  with_tile<T, kLargeN>(task.plan, [&](auto tile) {
    with_flags(
        [&](auto whole) {
          launch(conv2d_backward_data_kernel<decltype(tile), whole.value>, "conv2d_backward_data",
                 {.grid = task.plan.grid(), .block = dim3(tile.kThreads)}, stream, task);
        },
        is_whole(b.dy, d.k) && is_whole(b.filters, d.c));
  });
  add_splits(task.plan, task.partials, task.dx, count, "conv2d_backward_data: sum of splits",
             stream);
}

}  // namespace

template <class T>
int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<T>& b) {
  const Conv2dShape& d = b.shape;
  const int64_t count = d.n * d.h * d.w * d.c;
  if (count == 0) return 0;
  return tensor::dispatch<T>(
      b, [](const auto& x) { return tensor::conv2d_backward_data_workspace_bytes(x); },
      [count](const auto& x) { return partial_bytes(plan_of<T>(x.shape), count, sizeof(T)); });
}

template <class T>
void conv2d_backward_data(const Conv2dBackwardData<T>& b, cudaStream_t stream) {
  const Conv2dShape& d = b.shape;
  if (d.n * d.h * d.w * d.c == 0) return;
  check_shape(d);
  tensor::dispatch<T>(
      b, [stream](const auto& x) { tensor::conv2d_backward_data(x, stream); },
      [stream](const auto& x) { conv2d_backward_data_simt(x, stream); });
}

template int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<float>&);
template int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<double>&);
template int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<bf16>&);
template void conv2d_backward_data(const Conv2dBackwardData<float>&, cudaStream_t);
template void conv2d_backward_data(const Conv2dBackwardData<double>&, cudaStream_t);
template void conv2d_backward_data(const Conv2dBackwardData<bf16>&, cudaStream_t);

}  // namespace flyball::cuda

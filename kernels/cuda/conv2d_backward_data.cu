#include "kernels/conv2d.h"

#include "kernels/cuda/simt_output.cuh"
#include "kernels/cuda/simt_windows.cuh"

// dx[n,h,w,c] (+)= sum over the taps (r,s) that reach (h,w), and over k, of
//   dy[n, (h + padding - r) / stride, (w + padding - s) / stride, k] * filters[k,r,s,c].
// A tap reaches h where stride divides h + padding - r. All h with the same remainder share their
// taps r0, r0 + stride, ..: the stride * stride classes of pixels are convolutions of stride 1 over
// dy, run backwards through the taps, in one launch. Every element is summed by one thread (or one
// for each split), in the order of r, s, k.
namespace flyball::cuda {
namespace {

using namespace simt;

// The largest tile is 128 x 64: 8 x 8 outputs and the windows' places need 168 registers.
constexpr int kLargeN = 64;

// One axis: h, r or w, s.
struct Axis {
  int extent, taps;
  Divisor class_extents[2];  // of the classes: extent / stride rounded up and down
  Divisor class_taps[2];
};

template <class T>
struct BackwardDataTask {
  const T* dy;
  const T* filters;
  Axis down, across;
  int p, q;
  Divisor k;
  int n, c, stride, padding;
  Output<T> dx;
  T* partials;
  int64_t count;  // n*h*w * c
  Plan plan;
};

// The elements of one axis at first, first + stride, .. and their taps first_tap, first_tap +
// stride, ..; element i meets its tap j at origin + i - j of dy.
struct Class {
  int first, first_tap, origin;
  Divisor extent, taps;
  bool empty, no_taps;
};

__host__ __device__ inline int steps_within(int first, int end, int stride) {
  return first < end ? (end - first - 1) / stride + 1 : 0;
}

__device__ inline Divisor one_of(const Divisor (&two)[2], int divisor) {
  return divisor == two[0].divisor ? two[0] : two[1];
}

__device__ inline Class class_of(const Axis& axis, int first, int stride, int padding) {
  const int first_tap = (first + padding) % stride;
  const int extent = steps_within(first, axis.extent, stride);
  const int taps = steps_within(first_tap, axis.taps, stride);
  return {.first = first,
          .first_tap = first_tap,
          .origin = (first + padding - first_tap) / stride,
          .extent = one_of(axis.class_extents, extent),
          .taps = one_of(axis.class_taps, taps),
          .empty = extent == 0,
          .no_taps = taps == 0};
}

// The block's class along both axes. blockIdx passes through an empty assembly statement, so that a
// second call computes everything again rather than keeping it in registers through the tile loop.
struct Classes {
  Class down, across;

  template <class T>
  static __device__ Classes of_block(const BackwardDataTask<T>& task) {
    int problem = static_cast<int>(blockIdx.z);
    asm volatile("" : "+r"(problem));
    return {class_of(task.down, problem / task.stride, task.stride, task.padding),
            class_of(task.across, problem % task.stride, task.stride, task.padding)};
  }
};

// Tiles whose rows are channels of x and whose depth is (tap row, tap column, k).
template <class Placement_, bool kWhole>
struct FilterTaps {
  using Placement = Placement_;
  using T = typename Placement::Element;
  const T* from;  // of the class's first tap and the thread's first channel
  Divisor k, taps_across;
  int64_t filter_stride;            // r*s*c
  int tap_down_stride, tap_stride;  // stride*s*c, stride*c
  int left, elements, element;      // channels from there on; of the depth

  __device__ void load(int v, T (&values)[kWidth<T>]) const {
    const int at = element + v * Placement::kDepthStep;
    const int tap = k.quotient(at), filter = at - tap * k.divisor;
    const int i = taps_across.quotient(tap), j = tap - i * taps_across.divisor;
    read_or_zero<kWhole>(from + filter * filter_stride + i * tap_down_stride + j * tap_stride,
                         at < elements ? left : 0, values);
  }
  __device__ void advance() { element += 4 * kWidth<T>; }
};

// registers: <= 168
template <class Tile, bool kWhole>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    conv2d_backward_data_kernel(const BackwardDataTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  const auto [down, across] = Classes::of_block(task);
  const bool empty = down.empty || across.empty;
  const Windows<T> windows{
      .images = task.dy,
      .height = task.p,
      .width = task.q,
      .channels = task.k,
      .p = down.extent,
      .q = across.extent,
      .stride = 1,
      .origin_y = down.origin,
      .origin_x = across.origin,
      .taps_across = across.taps,
      .count = empty ? 0 : task.n * down.extent.divisor * across.extent.divisor,
      .elements = down.no_taps || across.no_taps
                      ? 0
                      : down.taps.divisor * across.taps.divisor * task.k.divisor};
  const Place place = Place::of<Tile>(task.plan, windows.elements);
  const int steps = place.first_row < windows.count ? place.end - place.begin : 0;
  // load, multiply: sums [kM pixels, kN channels]
  WindowsByElement<AlongDepth<T, Tile::kM, Tile::kThreads>, -1, kWhole> dy(windows, place.first_row,
                                                                           place.begin);
  using Channels = AlongRows<T, Tile::kN, Tile::kThreads>;
  const int channel = place.first_column + Channels::row(0), s = task.across.taps;
  FilterTaps<Channels, kWhole> filters{
      .from = task.filters + (int64_t{down.first_tap} * s + across.first_tap) * task.c + channel,
      .k = task.k,
      .taps_across = across.taps,
      .filter_stride = int64_t{task.down.taps} * s * task.c,
      .tap_down_stride = task.stride * s * task.c,
      .tap_stride = task.stride * task.c,
      .left = task.c - channel,
      .elements = windows.elements,
      .element = place.begin * Tile::kDepth + Channels::depth(0)};
  T sums[Tile::kThreadM][Tile::kThreadN];
  multiply_tiles<Tile>(dy, filters, steps, sums);
  // store
  const Classes classes = Classes::of_block(task);
  const auto start_of = [&](int row) {
    const Divisor& lines = classes.down.extent;
    const Divisor& columns = classes.across.extent;
    const int line = columns.quotient(row), n = lines.quotient(line);
    const int64_t y = classes.down.first + (line - n * lines.divisor) * task.stride;
    const int64_t x = classes.across.first + (row - line * columns.divisor) * task.stride;
    return ((n * int64_t{task.down.extent} + y) * task.across.extent + x) * task.c;
  };
  write_tile<Tile>(output_of_split(task.dx, task.plan, task.partials, task.count), place.first_row,
                   windows.count, place.first_column, sums, start_of);
}

Axis axis_of(int64_t extent, int64_t taps, int64_t stride) {
  const auto divisor = [](int64_t d) { return Divisor(static_cast<int>(std::max<int64_t>(d, 1))); };
  return {.extent = static_cast<int>(extent),
          .taps = static_cast<int>(taps),
          .class_extents = {divisor(ceil_divide(extent, stride)), divisor(extent / stride)},
          .class_taps = {divisor(ceil_divide(taps, stride)), divisor(taps / stride)}};
}

// For the largest class.
template <class T>
Plan plan_of(const Conv2dShape& d) {
  return make_plan<T, kLargeN>(d.n * ceil_divide(d.h, d.stride) * ceil_divide(d.w, d.stride), d.c,
                               ceil_divide(d.r, d.stride) * ceil_divide(d.s, d.stride) * d.k,
                               d.stride * d.stride);
}

}  // namespace

template <class T>
int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<T>& b) {
  const int64_t count = b.shape.n * b.shape.h * b.shape.w * b.shape.c;
  return count == 0 ? 0 : partial_bytes(plan_of<T>(b.shape), count, sizeof(T));
}

template <class T>
void conv2d_backward_data(const Conv2dBackwardData<T>& b, cudaStream_t stream) {
  const Conv2dShape& d = b.shape;
  const int64_t count = d.n * d.h * d.w * d.c;
  if (count == 0) return;
  check_shape(d);
  BackwardDataTask<T> task{
      .dy = b.dy,
      .filters = b.filters,
      .down = axis_of(d.h, d.r, d.stride),
      .across = axis_of(d.w, d.s, d.stride),
      .p = static_cast<int>(d.p()),
      .q = static_cast<int>(d.q()),
      .k = Divisor(static_cast<int>(std::max<int64_t>(d.k, 1))),
      .n = static_cast<int>(d.n),
      .c = static_cast<int>(d.c),
      .stride = static_cast<int>(d.stride),
      .padding = static_cast<int>(d.padding),
      .dx = {b.dx, nullptr, static_cast<int>(d.c), false, b.accumulate, is_whole(b.dx, d.c)},
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

template int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<float>&);
template int64_t conv2d_backward_data_workspace_bytes(const Conv2dBackwardData<double>&);
template void conv2d_backward_data(const Conv2dBackwardData<float>&, cudaStream_t);
template void conv2d_backward_data(const Conv2dBackwardData<double>&, cudaStream_t);

}  // namespace flyball::cuda

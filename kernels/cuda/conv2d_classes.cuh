#pragma once

#include "kernels/cuda/tile_windows.cuh"

// The gradient of a convolution with respect to x,
//   dx[n,h,w,c] = sum over the taps (r,s) that reach (h,w), and over k, of
//     dy[n, (h + padding - r) / stride, (w + padding - s) / stride, k] * filters[k,r,s,c],
// as products of matrices. A tap reaches h where stride divides h + padding - r. All h with the
// same remainder share their taps r0, r0 + stride, ..: the stride * stride classes of pixels are
// convolutions of stride 1 over dy, run backwards through the taps, in one launch.
namespace flyball::cuda::tiles {

// One axis: h, r or w, s.
struct Axis {
  int extent, taps;
  Divisor class_extents[2];  // of the classes: extent / stride rounded up and down
  Divisor class_taps[2];
};

// The gradient of x, without where it goes.
template <class T>
struct DataGradient {
  const T* dy;
  const T* filters;
  Axis down, across;
  int p, q;
  Divisor k;
  int n, c, stride, padding;
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
  static __device__ Classes of_block(const DataGradient<T>& task) {
    int problem = static_cast<int>(blockIdx.z);
    asm volatile("" : "+r"(problem));
    return {class_of(task.down, problem / task.stride, task.stride, task.padding),
            class_of(task.across, problem % task.stride, task.stride, task.padding)};
  }
};

// Tiles whose rows are channels of x and whose depth is (tap row, tap column, k).
template <class Placement_, bool kWhole_>
struct FilterTaps {
  using Placement = Placement_;
  using T = typename Placement::Element;
  static constexpr bool kWhole = kWhole_;
  const T* from;  // of the class's first tap and the thread's first channel
  Divisor k, taps_across;
  int64_t filter_stride;            // r*s*c
  int tap_down_stride, tap_stride;  // stride*s*c, stride*c
  int left, elements, element;      // channels from there on; of the depth

  // kWhole: whether vector v is inside, and its place.
  __device__ bool find(int v, const T*& at) const {
    const int here = element + v * Placement::kDepthStep;
    const int tap = k.quotient(here), filter = here - tap * k.divisor;
    const int i = taps_across.quotient(tap), j = tap - i * taps_across.divisor;
    at = from + filter * filter_stride + i * tap_down_stride + j * tap_stride;
    return here < elements && left > 0;
  }
  __device__ void load(int v, T (&values)[kWidth<T>]) const {
    const T* at;
    const bool inside = find(v, at);
    read_or_zero<kWhole>(at, inside ? left : 0, values);
  }
  __device__ void advance() { element += 4 * kWidth<T>; }
};

// The windows over dy of a class.
template <class T>
__device__ Windows<T> windows_of(const DataGradient<T>& g, const Class& down, const Class& across) {
  const bool empty = down.empty || across.empty;
  return {.images = g.dy,
          .height = g.p,
          .width = g.q,
          .channels = g.k,
          .p = down.extent,
          .q = across.extent,
          .stride = 1,
          .origin_y = down.origin,
          .origin_x = across.origin,
          .taps_across = across.taps,
          .count = empty ? 0 : g.n * down.extent.divisor * across.extent.divisor,
          .elements = down.no_taps || across.no_taps
                          ? 0
                          : down.taps.divisor * across.taps.divisor * g.k.divisor};
}

// The filters of a class, for the channels from first_channel on.
template <class Placement, bool kWhole, class T>
__device__ FilterTaps<Placement, kWhole> filters_of(const DataGradient<T>& g, const Class& down,
                                                    const Class& across, int elements,
                                                    int first_channel, int first_step) {
  const int channel = first_channel + Placement::row(0), s = g.across.taps;
  return {.from = g.filters + (int64_t{down.first_tap} * s + across.first_tap) * g.c + channel,
          .k = g.k,
          .taps_across = across.taps,
          .filter_stride = int64_t{g.down.taps} * s * g.c,
          .tap_down_stride = g.stride * s * g.c,
          .tap_stride = g.stride * g.c,
          .left = g.c - channel,
          .elements = elements,
          .element = first_step * 4 * kWidth<T> + Placement::depth(0)};
}

// The first element in dx of a pixel of a class.
template <class T>
__device__ int64_t start_of_pixel(const DataGradient<T>& g, const Classes& classes, int pixel) {
  const Divisor& lines = classes.down.extent;
  const Divisor& columns = classes.across.extent;
  const int line = columns.quotient(pixel), n = lines.quotient(line);
  const int64_t y = classes.down.first + (line - n * lines.divisor) * g.stride;
  const int64_t x = classes.across.first + (pixel - line * columns.divisor) * g.stride;
  return ((n * int64_t{g.down.extent} + y) * g.across.extent + x) * g.c;
}

inline Axis axis_of(int64_t extent, int64_t taps, int64_t stride) {
  const auto divisor = [](int64_t d) { return Divisor(static_cast<int>(std::max<int64_t>(d, 1))); };
  return {.extent = static_cast<int>(extent),
          .taps = static_cast<int>(taps),
          .class_extents = {divisor(ceil_divide(extent, stride)), divisor(extent / stride)},
          .class_taps = {divisor(ceil_divide(taps, stride)), divisor(taps / stride)}};
}

template <class T>
DataGradient<T> data_gradient_of(const Conv2dBackwardData<T>& b) {
  const Conv2dShape& d = b.shape;
  return {.dy = b.dy,
          .filters = b.filters,
          .down = axis_of(d.h, d.r, d.stride),
          .across = axis_of(d.w, d.s, d.stride),
          .p = static_cast<int>(d.p()),
          .q = static_cast<int>(d.q()),
          .k = Divisor(static_cast<int>(std::max<int64_t>(d.k, 1))),
          .n = static_cast<int>(d.n),
          .c = static_cast<int>(d.c),
          .stride = static_cast<int>(d.stride),
          .padding = static_cast<int>(d.padding)};
}

// Pixels and depth of the largest class.
inline int64_t most_pixels(const Conv2dShape& d) {
  return d.n * ceil_divide(d.h, d.stride) * ceil_divide(d.w, d.stride);
}
inline int64_t most_elements(const Conv2dShape& d) {
  return ceil_divide(d.r, d.stride) * ceil_divide(d.s, d.stride) * d.k;
}

}  // namespace flyball::cuda::tiles

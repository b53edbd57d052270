#pragma once

#include "kernels/conv2d.h"
#include "kernels/cuda/tile_operands.cuh"
#include "kernels/cuda/tile_output.cuh"

// Convolution as a product of matrices that are never written down: loaders that find an element
// of the matrix of windows in the image itself. Windows are numbered (n, p, q), the elements of one
// (tap row i, tap column j, channel), channels fastest.
namespace flyball::cuda::tiles {

// Quotients by a divisor that is known before the kernel runs, for numerators below 2^31: n / d =
// (n * m / 2^32 + n) / 2^s with s = ceil(log2 d), m = floor(2^32 (2^s - d) / d) + 1 (Granlund &
// Montgomery 1994, fig. 4.1).
struct Divisor {
  int divisor = 1;
  unsigned multiplier = 1, shift = 0;

  Divisor() = default;
  __host__ __device__ explicit Divisor(int d) : divisor(d) {
    while ((uint64_t{1} << shift) < static_cast<uint64_t>(d)) ++shift;
    const uint64_t difference = (uint64_t{1} << shift) - static_cast<uint64_t>(d);
    multiplier = static_cast<unsigned>((difference << 32) / static_cast<uint64_t>(d) + 1);
  }
  __device__ int quotient(int n) const {
    const auto numerator = static_cast<unsigned>(n);
    return static_cast<int>((__umulhi(numerator, multiplier) + numerator) >> shift);
  }
};

// Windows [n, p, q] over images [n, height, width, channels]. Element (i, j, channel) of window
// (p, q) is the image's (p * stride + origin_y + direction * i, q * stride + origin_x + direction *
// j, channel), or 0 outside of it; direction is the loader's.
template <class T>
struct Windows {
  const T* images;
  int height, width;
  Divisor channels;
  Divisor p, q;
  int stride, origin_y, origin_x;
  Divisor taps_across;  // of j
  int count;            // n * p * q
  int elements;         // of a window: taps * channels
};

// The windows of a convolution over its x.
template <class T>
Windows<T> windows_of(const T* x, const Conv2dShape& d) {
  return {.images = x,
          .height = static_cast<int>(d.h),
          .width = static_cast<int>(d.w),
          .channels = Divisor(static_cast<int>(d.c)),
          .p = Divisor(static_cast<int>(d.p())),
          .q = Divisor(static_cast<int>(d.q())),
          .stride = static_cast<int>(d.stride),
          .origin_y = static_cast<int>(-d.padding),
          .origin_x = static_cast<int>(-d.padding),
          .taps_across = Divisor(static_cast<int>(d.s)),
          .count = static_cast<int>(d.n * d.p() * d.q()),
          .elements = static_cast<int>(d.r * d.s * d.c)};
}

inline void check_shape(const Conv2dShape& d) {
  check_extent("conv2d: n*h*w", d.n * d.h * d.w);
  check_extent("conv2d: n*p*q", d.n * d.p() * d.q());
  check_extent("conv2d: r*s*c", d.r * d.s * d.c);
  check_extent("conv2d: r*s*k", d.r * d.s * d.k);
}

struct Pixel {
  int n, y, x;
};

// Of the first element of a window.
template <class T>
__device__ Pixel origin_of(const Windows<T>& windows, int window) {
  const int row = windows.q.quotient(window), n = windows.p.quotient(row);
  return {n, (row - n * windows.p.divisor) * windows.stride + windows.origin_y,
          (window - row * windows.q.divisor) * windows.stride + windows.origin_x};
}

// Where the image holds `pixel`, which may lie outside of it.
template <class T>
__device__ const T* at_pixel(const Windows<T>& windows, const Pixel& pixel) {
  const int64_t row = int64_t{pixel.n} * windows.height + pixel.y;
  return windows.images + (row * windows.width + pixel.x) * windows.channels.divisor;
}

template <class T>
__device__ bool is_inside(const Windows<T>& windows, int y, int x) {
  return static_cast<unsigned>(y) < static_cast<unsigned>(windows.height) &&
         static_cast<unsigned>(x) < static_cast<unsigned>(windows.width);
}

// An element of every window: its tap, and its place relative to the window's first element.
struct WindowElement {
  int i, j;  // times direction
  int64_t offset;
};

template <int kDirection, class T>
__device__ WindowElement element_of(const Windows<T>& windows, int element) {
  const int tap = windows.channels.quotient(element);
  const int channel = element - tap * windows.channels.divisor;
  const int i = windows.taps_across.quotient(tap), j = tap - i * windows.taps_across.divisor;
  const int64_t pixels = kDirection * (int64_t{i} * windows.width + j);
  return {kDirection * i, kDirection * j, pixels * windows.channels.divisor + channel};
}

// Tiles whose rows are windows and whose depth are their elements. kWhole: images are aligned and
// channels a multiple of the width, so that a vector has one tap.
template <class Placement_, int kDirection, bool kWhole_>
struct WindowsByElement {
  using Placement = Placement_;
  using T = typename Placement::Element;
  static constexpr bool kWhole = kWhole_;
  const Windows<T>& windows;
  const T* from[Placement::kVectors];  // the windows' first elements
  int y[Placement::kVectors], x[Placement::kVectors];
  int element;

  __device__ WindowsByElement(const Windows<T>& all, int first_row, int first_step)
      : windows(all), element(first_step * 4 * kWidth<T> + Placement::depth(0)) {
#pragma unroll
    for (int v = 0; v < Placement::kVectors; ++v) {
      const int window = first_row + Placement::row(v);
      const Pixel pixel = origin_of(windows, window);
      from[v] = at_pixel(windows, pixel);
      y[v] = window < windows.count ? pixel.y : -0x40000000;  // no tap reaches the image from there
      x[v] = pixel.x;
    }
  }
  // Whether element `element + j` of vector v's window is inside, and its place.
  __device__ bool find_element(int v, int j, const T*& at) const {
    const WindowElement found = element_of<kDirection>(windows, element + j);
    at = from[v] + found.offset;
    return element + j < windows.elements && is_inside(windows, y[v] + found.i, x[v] + found.j);
  }
  __device__ bool find(int v, const T*& at) const { return find_element(v, 0, at); }
  __device__ void load(int v, T (&values)[kWidth<T>]) const {
    constexpr int kEach = kWhole ? kWidth<T> : 1;  // elements of a load
#pragma unroll
    for (int j = 0; j < kWidth<T>; ++j) values[j] = T{};
#pragma unroll
    for (int j = 0; j < kWidth<T>; j += kEach) {
      const T* at;
      if (!find_element(v, j, at)) continue;
      if constexpr (kWhole) {
        read_vector(at, values);
      } else {
        values[j] = *at;
      }
    }
  }
  __device__ void advance() { element += 4 * kWidth<T>; }
};

// Tiles whose rows are the windows' elements and whose depth are the windows.
template <class Placement_, bool kWhole_>
struct ElementsByWindow {
  using Placement = Placement_;
  using T = typename Placement::Element;
  static constexpr bool kWhole = kWhole_;
  static constexpr int kEach = kWhole ? kWidth<T> : 1;
  static constexpr int kLoads = kWidth<T> / kEach;  // of a vector
  const Windows<T>& windows;
  WindowElement elements[kLoads];
  int left;  // elements from the thread's first on
  int window;

  __device__ ElementsByWindow(const Windows<T>& all, int first_row, int first_step)
      : windows(all),
        left(all.elements - first_row - Placement::row(0)),
        window(first_step * 4 * kWidth<T> + Placement::depth(0)) {
#pragma unroll
    for (int l = 0; l < kLoads; ++l) {
      elements[l] = element_of<1>(windows, first_row + Placement::row(0) + l);
    }
  }
  // Whether load l of the window at `pixel` is inside.
  __device__ bool has(int here, const Pixel& pixel, int l) const {
    return here < windows.count && l < left &&
           is_inside(windows, pixel.y + elements[l].i, pixel.x + elements[l].j);
  }
  __device__ bool find(int v, const T*& at) const {
    const int here = window + v * Placement::kDepthStep;
    const Pixel pixel = origin_of(windows, here);
    at = at_pixel(windows, pixel) + elements[0].offset;
    return has(here, pixel, 0);
  }
  __device__ void load(int v, T (&values)[kWidth<T>]) const {
    const int here = window + v * Placement::kDepthStep;
    const Pixel pixel = origin_of(windows, here);
    const T* from = at_pixel(windows, pixel);
#pragma unroll
    for (int j = 0; j < kWidth<T>; ++j) values[j] = T{};
#pragma unroll
    for (int l = 0; l < kLoads; ++l) {
      if (!has(here, pixel, l)) continue;
      if constexpr (kWhole) {
        read_vector(from + elements[l].offset, values);
      } else {
        values[l] = from[elements[l].offset];
      }
    }
  }
  __device__ void advance() { window += 4 * kWidth<T>; }
};

}  // namespace flyball::cuda::tiles

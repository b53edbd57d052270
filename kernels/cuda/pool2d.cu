#include "kernels/pool2d.h"

#include <limits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

// A thread takes four channels of one pixel. Backward gathers: each dx element is written once,
// from the windows that cover it, in row-major order of the windows.
namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;

// The general comparison of max pooling: the first largest wins, and NaN wins over everything.
template <class T>
__device__ bool beats(T v, T best) {
  return v > best || v != v;
}

// Sizes of one image; the launcher has checked that they fit.
struct Size {
  int h, w, c, window, stride, padding, p, q;
};

// pixels: n * h * w or n * p * q, of which each has `slots` slots.
template <class Arguments>
struct PoolPass {
  Arguments operation;
  Size size;
  int64_t pixels = 0;
  int slots = 0;
};

// The pixel (image, row, column) of an image [rows, columns], and the channels of this thread.
struct Place {
  int64_t pixel, image;
  int row, column;
  Slot channels;
  bool exists;
};

template <class Pass>
__device__ Place place_of_thread(const Pass& pass, int rows, int columns, bool aligned) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  Place place;
  place.pixel = i / pass.slots;
  place.exists = place.pixel < pass.pixels;
  const int64_t line = place.pixel / columns;
  place.column = static_cast<int>(place.pixel % columns);
  place.image = line / rows;
  place.row = static_cast<int>(line % rows);
  place.channels = slot_at(4 * (i % pass.slots), pass.size.c, aligned && pass.size.c % 4 == 0);
  return place;
}

// Windows [first, last) over element i, of `windows`.
struct Range {
  int first, last;
};

__device__ Range windows_of(const Size& d, int i, int windows) {
  const int end = i + d.padding;
  const int first = end < d.window ? 0 : (end - d.window) / d.stride + 1;
  return {first, min(end / d.stride + 1, windows)};
}

// Calls visit(at, x) for the real elements of output pixel (row, column), in order; at: row *
// window + column in the window. The loads of one row of the window are in flight together where
// kWindow, its size, is known; 0 stands for any.
template <int kWindow, class T, class Visit>
__device__ void visit_window(const Size& d, const T* x, const Place& place, Visit visit) {
  const int window = kWindow > 0 ? kWindow : d.window;
  const int row_begin = place.row * d.stride - d.padding;
  const int column_begin = place.column * d.stride - d.padding;
  const T* image = x + place.image * d.h * d.w * d.c;
#pragma unroll
  for (int r = 0; r < window; ++r) {
    const int h = row_begin + r;
    if (h < 0 || h >= d.h) continue;
    const T* line = image + int64_t{h} * d.w * d.c;
    if constexpr (kWindow > 0) {
      Four<T> loaded[kWindow];
#pragma unroll
      for (int s = 0; s < kWindow; ++s) {
        const int w = column_begin + s;
        if (w >= 0 && w < d.w) loaded[s] = load_as_stored(line + int64_t{w} * d.c, place.channels);
      }
#pragma unroll
      for (int s = 0; s < kWindow; ++s) {
        const int w = column_begin + s;
        if (w >= 0 && w < d.w) visit(r * window + s, widened(loaded[s]));
      }
    } else {
      for (int s = 0; s < window; ++s) {
        const int w = column_begin + s;
        if (w < 0 || w >= d.w) continue;
        visit(r * window + s, load(line + int64_t{w} * d.c, place.channels));
      }
    }
  }
}

// registers: <= 72
template <int kWindow, class T>
__global__ void __launch_bounds__(kThreads)
    max_pool2d_forward_kernel(PoolPass<MaxPool2dForward<T>> pass) {
  using A = Accumulator<T>;
  const MaxPool2dForward<T>& a = pass.operation;
  const Size& d = pass.size;
  const bool aligned = are_aligned(a.x, a.y) && are_aligned(a.argmax);
  const Place place = place_of_thread(pass, d.p, d.q, aligned);
  if (!place.exists) return;
  Four<A> best = {};
  Four<uint8_t> winner = {};
  bool first = true;
  visit_window<kWindow>(d, a.x, place, [&](int at, const Four<A>& x) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (first || beats(x.at[j], best.at[j])) {
        best.at[j] = x.at[j];
        winner.at[j] = static_cast<uint8_t>(at);
      }
    }
    first = false;
  });
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (a.relu && best.at[j] <= 0) {
      best.at[j] = 0;
      winner.at[j] = kNoWinner;
    }
  }
  store(a.y + place.pixel * d.c, place.channels, best);
  if (a.argmax != nullptr) store(a.argmax + place.pixel * d.c, place.channels, winner);
}

// registers: <= 60
template <int kWindow, class T>
__global__ void __launch_bounds__(kThreads)
    average_pool2d_forward_kernel(PoolPass<AveragePool2dForward<T>> pass) {
  using A = Accumulator<T>;
  const AveragePool2dForward<T>& a = pass.operation;
  const Size& d = pass.size;
  const Place place = place_of_thread(pass, d.p, d.q, are_aligned(a.x, a.y));
  if (!place.exists) return;
  Four<A> sum = {};
  visit_window<kWindow>(d, a.x, place, [&](int, const Four<A>& x) {
#pragma unroll
    for (int j = 0; j < 4; ++j) sum.at[j] += x.at[j];
  });
  const A share = A{1} / static_cast<A>(d.window * d.window);
#pragma unroll
  for (int j = 0; j < 4; ++j) sum.at[j] *= share;
  store(a.y + place.pixel * d.c, place.channels, sum);
}

// Calls visit(at, pixel) for the windows over this thread's element, in order; at: the element's
// place in the window, pixel: the window's in y.
template <class Visit>
__device__ void visit_windows(const Size& d, const Place& place, Visit visit) {
  const Range rows = windows_of(d, place.row, d.p), columns = windows_of(d, place.column, d.q);
  for (int p = rows.first; p < rows.last; ++p) {
    for (int q = columns.first; q < columns.last; ++q) {
      const int r = place.row + d.padding - p * d.stride;
      const int s = place.column + d.padding - q * d.stride;
      visit(r * d.window + s, (place.image * d.p + p) * d.q + q);
    }
  }
}

// registers: <= 64
template <class T>
__global__ void __launch_bounds__(kThreads)
    max_pool2d_backward_kernel(PoolPass<MaxPool2dBackward<T>> pass) {
  using A = Accumulator<T>;
  const MaxPool2dBackward<T>& a = pass.operation;
  const Size& d = pass.size;
  const bool aligned = are_aligned(a.dx, a.dy) && are_aligned(a.argmax);
  const Place place = place_of_thread(pass, d.h, d.w, aligned);
  if (!place.exists) return;
  T* to = a.dx + place.pixel * d.c;
  Four<A> dx = {};
  if (a.accumulate) dx = load(to, place.channels);
  visit_windows(d, place, [&](int at, int64_t pixel) {
    const Four<uint8_t> winner = load(a.argmax + pixel * d.c, place.channels);
    const Four<A> dy = load(a.dy + pixel * d.c, place.channels);
#pragma unroll
    for (int j = 0; j < 4; ++j) dx.at[j] += winner.at[j] == at ? dy.at[j] : A{0};
  });
  store(to, place.channels, dx);
}

// registers: <= 64
template <class T>
__global__ void __launch_bounds__(kThreads)
    average_pool2d_backward_kernel(PoolPass<AveragePool2dBackward<T>> pass) {
  using A = Accumulator<T>;
  const AveragePool2dBackward<T>& a = pass.operation;
  const Size& d = pass.size;
  const Place place = place_of_thread(pass, d.h, d.w, are_aligned(a.dx, a.dy));
  if (!place.exists) return;
  T* to = a.dx + place.pixel * d.c;
  const A share = A{1} / static_cast<A>(d.window * d.window);
  Four<A> dx = {};
  if (a.accumulate) dx = load(to, place.channels);
  visit_windows(d, place, [&](int, int64_t pixel) {
    const Four<A> dy = load(a.dy + pixel * d.c, place.channels);
#pragma unroll
    for (int j = 0; j < 4; ++j) dx.at[j] += share * dy.at[j];
  });
  store(to, place.channels, dx);
}

template <class T>
struct GlobalPass {
  GlobalAveragePoolForward<T> operation;
  ColumnGrid grid;
};

// A block for some channels of one image.
// registers: <= 80
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    global_average_pool_forward_kernel(GlobalPass<T> pass) {
  using A = Accumulator<T>;
  const GlobalAveragePoolForward<T>& a = pass.operation;
  const int width = pass.grid.width;
  const int64_t image = blockIdx.x / pass.grid.column_tiles;
  const Slot slot = column_slot(blockIdx.x % pass.grid.column_tiles, width, a.c, are_aligned(a.x));
  double totals[4];
  sum_columns<A>(
      image * a.pixels, (image + 1) * a.pixels, width,
      [&](int64_t row) { return load(a.x + row * a.c, slot); },
      [](int64_t, const Four<A>& x) { return x; }, totals);
  if (threadIdx.x >= width) return;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < slot.count) {
      a.y[image * a.c + slot.begin + j] =
          narrowed<T>(static_cast<A>(totals[j] / static_cast<double>(a.pixels)));
    }
  }
}

// registers: <= 32
template <class T>
__global__ void __launch_bounds__(kThreads)
    global_average_pool_backward_kernel(PoolPass<GlobalAveragePoolBackward<T>> pass) {
  using A = Accumulator<T>;
  const GlobalAveragePoolBackward<T>& a = pass.operation;
  const Place place = place_of_thread(pass, 1, 1, are_aligned(a.dx, a.dy));
  if (!place.exists) return;
  const A share = A{1} / static_cast<A>(a.pixels);
  T* to = a.dx + place.pixel * a.c;
  const Four<A> dy = load(a.dy + place.pixel / a.pixels * a.c, place.channels);
  Four<A> dx = {};
  if (a.accumulate) dx = load(to, place.channels);
#pragma unroll
  for (int j = 0; j < 4; ++j) dx.at[j] += share * dy.at[j];
  store(to, place.channels, dx);
}

int checked(int64_t size) {
  if (size > std::numeric_limits<int>::max() / 4) {
    throw Error(str("pool2d: an image's side or channels are ", size, ", expected at most 2^29"));
  }
  return static_cast<int>(size);
}

Size size_of(const Pool2dShape& d) {
  return {checked(d.h),      checked(d.w),       checked(d.c),   checked(d.window),
          checked(d.stride), checked(d.padding), checked(d.p()), checked(d.q())};
}

template <class Arguments>
void launch_pool(void (*kernel)(PoolPass<Arguments>), const char* name, const Arguments& a,
                 const Size& size, int64_t pixels, cudaStream_t stream) {
  const int64_t slots = ceil_divide(size.c, 4);
  if (pixels * slots == 0) return;
  const auto blocks = static_cast<unsigned>(ceil_divide(pixels * slots, kThreads));
  launch(kernel, name, {.grid = blocks, .block = kThreads}, stream,
         PoolPass<Arguments>{a, size, pixels, static_cast<int>(slots)});
}

}  // namespace

template <class T>
void max_pool2d_forward(const MaxPool2dForward<T>& f, cudaStream_t stream) {
  const Size d = size_of(f.shape);
  const auto kernel = d.window == 2   ? max_pool2d_forward_kernel<2, T>
                      : d.window == 3 ? max_pool2d_forward_kernel<3, T>
                                      : max_pool2d_forward_kernel<0, T>;
  launch_pool(kernel, "max_pool2d_forward", f, d, f.shape.n * d.p * d.q, stream);
}
template <class T>
void max_pool2d_backward(const MaxPool2dBackward<T>& b, cudaStream_t stream) {
  const Size d = size_of(b.shape);
  launch_pool(max_pool2d_backward_kernel<T>, "max_pool2d_backward", b, d, b.shape.n * d.h * d.w,
              stream);
}
template <class T>
void average_pool2d_forward(const AveragePool2dForward<T>& f, cudaStream_t stream) {
  const Size d = size_of(f.shape);
  const auto kernel = d.window == 2   ? average_pool2d_forward_kernel<2, T>
                      : d.window == 3 ? average_pool2d_forward_kernel<3, T>
                                      : average_pool2d_forward_kernel<0, T>;
  launch_pool(kernel, "average_pool2d_forward", f, d, f.shape.n * d.p * d.q, stream);
}
template <class T>
void average_pool2d_backward(const AveragePool2dBackward<T>& b, cudaStream_t stream) {
  const Size d = size_of(b.shape);
  launch_pool(average_pool2d_backward_kernel<T>, "average_pool2d_backward", b, d,
              b.shape.n * d.h * d.w, stream);
}
template <class T>
void global_average_pool_forward(const GlobalAveragePoolForward<T>& f, cudaStream_t stream) {
  if (f.n == 0 || f.c == 0) return;
  const ColumnGrid grid = column_grid(f.pixels, f.c);
  launch(global_average_pool_forward_kernel<T>, "global_average_pool_forward",
         {.grid = static_cast<unsigned>(f.n * grid.column_tiles), .block = kColumnThreads}, stream,
         GlobalPass<T>{f, grid});
}
template <class T>
void global_average_pool_backward(const GlobalAveragePoolBackward<T>& b, cudaStream_t stream) {
  launch_pool(global_average_pool_backward_kernel<T>, "global_average_pool_backward", b,
              Size{.c = checked(b.c)}, b.n * b.pixels, stream);
}

template void max_pool2d_forward(const MaxPool2dForward<float>&, cudaStream_t);
template void max_pool2d_forward(const MaxPool2dForward<double>&, cudaStream_t);
template void max_pool2d_forward(const MaxPool2dForward<bf16>&, cudaStream_t);
template void max_pool2d_backward(const MaxPool2dBackward<float>&, cudaStream_t);
template void max_pool2d_backward(const MaxPool2dBackward<double>&, cudaStream_t);
template void max_pool2d_backward(const MaxPool2dBackward<bf16>&, cudaStream_t);
template void average_pool2d_forward(const AveragePool2dForward<float>&, cudaStream_t);
template void average_pool2d_forward(const AveragePool2dForward<double>&, cudaStream_t);
template void average_pool2d_forward(const AveragePool2dForward<bf16>&, cudaStream_t);
template void average_pool2d_backward(const AveragePool2dBackward<float>&, cudaStream_t);
template void average_pool2d_backward(const AveragePool2dBackward<double>&, cudaStream_t);
template void average_pool2d_backward(const AveragePool2dBackward<bf16>&, cudaStream_t);
template void global_average_pool_forward(const GlobalAveragePoolForward<float>&, cudaStream_t);
template void global_average_pool_forward(const GlobalAveragePoolForward<double>&, cudaStream_t);
template void global_average_pool_forward(const GlobalAveragePoolForward<bf16>&, cudaStream_t);
template void global_average_pool_backward(const GlobalAveragePoolBackward<float>&, cudaStream_t);
template void global_average_pool_backward(const GlobalAveragePoolBackward<double>&, cudaStream_t);
template void global_average_pool_backward(const GlobalAveragePoolBackward<bf16>&, cudaStream_t);

}  // namespace flyball::cuda

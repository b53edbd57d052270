#include "kernels/pool2d.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

// One call per image. Backward gathers: each dx element is written once, from the windows that
// cover it, in row-major order of the windows.
namespace flyball::cpu {
namespace {

// The general comparison of max pooling: the first largest wins, and NaN wins over everything.
template <class T>
FLYBALL_INLINE bool beats(T v, T best) {
  return v > best || v != v;
}

template <class T>
FLYBALL_INLINE uint8_t finish_max(T& best, uint8_t winner, bool relu) {
  const bool cut = relu && best <= 0;
  best = cut ? T(0) : best;
  return cut ? kNoWinner : winner;
}

bool is_two_by_two(const Pool2dShape& d) {
  return d.window == 2 && d.stride == 2 && d.padding == 0;
}

// The rows or columns, [first, last), of real elements in window i, and of windows over element i.
struct Range {
  int64_t first, last;
};

FLYBALL_INLINE Range elements_of(const Pool2dShape& d, int64_t i, int64_t size) {
  const int64_t start = i * d.stride - d.padding;
  return {std::max<int64_t>(start, 0), std::min(start + d.window, size)};
}

FLYBALL_INLINE Range windows_of(const Pool2dShape& d, int64_t i, int64_t windows) {
  const int64_t end = i + d.padding;
  const int64_t first = end < d.window ? 0 : (end - d.window) / d.stride + 1;
  return {first, std::min(end / d.stride + 1, windows)};
}

template <bool kArgmax, bool kRelu, class T>
FLYBALL_INLINE void max_row_two_by_two(const T* __restrict top, const T* __restrict bottom,
                                       T* __restrict y, uint8_t* __restrict argmax, int64_t c) {
  for (int64_t i = 0; i < c; ++i) {
    T best = top[i];
    uint8_t winner = 0;
    const T candidates[3] = {top[c + i], bottom[i], bottom[c + i]};
    for (uint8_t j = 0; j < 3; ++j) {
      const bool better = beats(candidates[j], best);
      best = better ? candidates[j] : best;
      winner = better ? uint8_t(j + 1) : winner;
    }
    winner = finish_max(best, winner, kRelu);
    y[i] = best;
    if (kArgmax) argmax[i] = winner;
  }
}

template <bool kArgmax, bool kRelu, class T>
FLYBALL_INLINE void max_image_two_by_two(const MaxPool2dForward<T>& f, int64_t image) {
  const Pool2dShape& d = f.shape;
  for (int64_t p = 0; p < d.p(); ++p) {
    const T* top = f.x + (image * d.h + 2 * p) * d.w * d.c;
    const int64_t out = (image * d.p() + p) * d.q() * d.c;
    for (int64_t q = 0; q < d.q(); ++q) {
      const T* corner = top + 2 * q * d.c;
      max_row_two_by_two<kArgmax, kRelu>(corner, corner + d.w * d.c, f.y + out + q * d.c,
                                         kArgmax ? f.argmax + out + q * d.c : nullptr, d.c);
    }
  }
}

// One output pixel, channels [begin, begin + count): the window's elements one after the other,
// channels side by side.
constexpr int64_t kChannelBlock = 64;

template <class T>
FLYBALL_INLINE void max_pixel_general(const MaxPool2dForward<T>& f, int64_t image, int64_t p,
                                      int64_t q, int64_t begin, int64_t count) {
  const Pool2dShape& d = f.shape;
  const Range rows = elements_of(d, p, d.h), columns = elements_of(d, q, d.w);
  T best[kChannelBlock] = {};
  uint8_t winner[kChannelBlock] = {};
  bool first = true;
  for (int64_t h = rows.first; h < rows.last; ++h) {
    for (int64_t w = columns.first; w < columns.last; ++w) {
      const T* x = f.x + ((image * d.h + h) * d.w + w) * d.c + begin;
      const auto at = static_cast<uint8_t>((h + d.padding - p * d.stride) * d.window + w +
                                           d.padding - q * d.stride);
      for (int64_t i = 0; i < count; ++i) {
        const bool better = first || beats(x[i], best[i]);
        best[i] = better ? x[i] : best[i];
        winner[i] = better ? at : winner[i];
      }
      first = false;
    }
  }
  const int64_t out = ((image * d.p() + p) * d.q() + q) * d.c + begin;
  for (int64_t i = 0; i < count; ++i) {
    winner[i] = finish_max(best[i], winner[i], f.relu);
    f.y[out + i] = best[i];
  }
  if (f.argmax != nullptr) std::copy(winner, winner + count, f.argmax + out);
}

template <class T>
FLYBALL_INLINE void max_image_general(const MaxPool2dForward<T>& f, int64_t image) {
  const Pool2dShape& d = f.shape;
  for (int64_t p = 0; p < d.p(); ++p) {
    for (int64_t q = 0; q < d.q(); ++q) {
      for (int64_t c = 0; c < d.c; c += kChannelBlock) {
        max_pixel_general(f, image, p, q, c, std::min(kChannelBlock, d.c - c));
      }
    }
  }
}

template <class T>
FLYBALL_INLINE void image_body(const MaxPool2dForward<T>& f, int64_t image) {
  if (!is_two_by_two(f.shape)) {
    max_image_general(f, image);
  } else if (f.argmax != nullptr) {
    f.relu ? max_image_two_by_two<true, true>(f, image)
           : max_image_two_by_two<true, false>(f, image);
  } else {
    f.relu ? max_image_two_by_two<false, true>(f, image)
           : max_image_two_by_two<false, false>(f, image);
  }
}

template <bool kAccumulate, class T>
FLYBALL_INLINE void put(T& to, T value) {
  to = kAccumulate ? to + value : value;
}

template <bool kAccumulate, class T>
FLYBALL_INLINE void max_backward_row_two_by_two(const T* __restrict dy,
                                                const uint8_t* __restrict argmax, T* __restrict top,
                                                T* __restrict bottom, int64_t c) {
  for (int64_t i = 0; i < c; ++i) {
    const T g = dy[i];
    const uint8_t winner = argmax[i];
    put<kAccumulate>(top[i], winner == 0 ? g : T(0));
    put<kAccumulate>(top[c + i], winner == 1 ? g : T(0));
    put<kAccumulate>(bottom[i], winner == 2 ? g : T(0));
    put<kAccumulate>(bottom[c + i], winner == 3 ? g : T(0));
  }
}

template <bool kAccumulate, class T>
FLYBALL_INLINE void max_backward_two_by_two(const MaxPool2dBackward<T>& b, int64_t image) {
  const Pool2dShape& d = b.shape;
  const int64_t row_size = d.w * d.c, covered = 2 * d.q() * d.c;
  for (int64_t p = 0; p < d.p(); ++p) {
    T* top = b.dx + (image * d.h + 2 * p) * row_size;
    T* bottom = top + row_size;
    for (int64_t q = 0; q < d.q(); ++q) {
      const int64_t in = ((image * d.p() + p) * d.q() + q) * d.c;
      max_backward_row_two_by_two<kAccumulate>(b.dy + in, b.argmax + in, top + 2 * q * d.c,
                                               bottom + 2 * q * d.c, d.c);
    }
    if (kAccumulate) continue;
    std::fill(top + covered, top + row_size, T(0));
    std::fill(bottom + covered, bottom + row_size, T(0));
  }
  if (kAccumulate || d.h == 2 * d.p()) return;
  std::fill_n(b.dx + ((image + 1) * d.h - 1) * row_size, row_size, T(0));
}

template <class T>
FLYBALL_INLINE void max_backward_general(const MaxPool2dBackward<T>& b, int64_t image) {
  const Pool2dShape& d = b.shape;
  for (int64_t h = 0; h < d.h; ++h) {
    const Range rows = windows_of(d, h, d.p());
    for (int64_t w = 0; w < d.w; ++w) {
      const Range columns = windows_of(d, w, d.q());
      T* __restrict dx = b.dx + ((image * d.h + h) * d.w + w) * d.c;
      if (!b.accumulate) std::fill_n(dx, d.c, T(0));
      for (int64_t p = rows.first; p < rows.last; ++p) {
        for (int64_t q = columns.first; q < columns.last; ++q) {
          const auto here = static_cast<uint8_t>((h + d.padding - p * d.stride) * d.window + w +
                                                 d.padding - q * d.stride);
          const int64_t in = ((image * d.p() + p) * d.q() + q) * d.c;
          const T* __restrict dy = b.dy + in;
          const uint8_t* __restrict argmax = b.argmax + in;
          for (int64_t c = 0; c < d.c; ++c) dx[c] += argmax[c] == here ? dy[c] : T(0);
        }
      }
    }
  }
}

template <class T>
FLYBALL_INLINE void image_body(const MaxPool2dBackward<T>& b, int64_t image) {
  if (!is_two_by_two(b.shape)) {
    max_backward_general(b, image);
  } else if (b.accumulate) {
    max_backward_two_by_two<true>(b, image);
  } else {
    max_backward_two_by_two<false>(b, image);
  }
}

template <class T>
FLYBALL_INLINE void image_body(const AveragePool2dForward<T>& f, int64_t image) {
  const Pool2dShape& d = f.shape;
  const T share = T(1) / static_cast<T>(d.window * d.window);
  for (int64_t p = 0; p < d.p(); ++p) {
    const Range rows = elements_of(d, p, d.h);
    for (int64_t q = 0; q < d.q(); ++q) {
      const Range columns = elements_of(d, q, d.w);
      T* __restrict y = f.y + ((image * d.p() + p) * d.q() + q) * d.c;
      std::fill_n(y, d.c, T(0));
      for (int64_t h = rows.first; h < rows.last; ++h) {
        for (int64_t w = columns.first; w < columns.last; ++w) {
          const T* __restrict x = f.x + ((image * d.h + h) * d.w + w) * d.c;
          for (int64_t c = 0; c < d.c; ++c) y[c] += x[c];
        }
      }
      for (int64_t c = 0; c < d.c; ++c) y[c] *= share;
    }
  }
}

template <class T>
FLYBALL_INLINE void image_body(const AveragePool2dBackward<T>& b, int64_t image) {
  const Pool2dShape& d = b.shape;
  const T share = T(1) / static_cast<T>(d.window * d.window);
  for (int64_t h = 0; h < d.h; ++h) {
    const Range rows = windows_of(d, h, d.p());
    for (int64_t w = 0; w < d.w; ++w) {
      const Range columns = windows_of(d, w, d.q());
      T* __restrict dx = b.dx + ((image * d.h + h) * d.w + w) * d.c;
      if (!b.accumulate) std::fill_n(dx, d.c, T(0));
      for (int64_t p = rows.first; p < rows.last; ++p) {
        for (int64_t q = columns.first; q < columns.last; ++q) {
          const T* __restrict dy = b.dy + ((image * d.p() + p) * d.q() + q) * d.c;
          for (int64_t c = 0; c < d.c; ++c) dx[c] += share * dy[c];
        }
      }
    }
  }
}

template <class T>
FLYBALL_INLINE void image_body(const GlobalAveragePoolForward<T>& f, int64_t image) {
  T* __restrict y = f.y + image * f.c;
  std::fill_n(y, f.c, T(0));
  for (int64_t pixel = 0; pixel < f.pixels; ++pixel) {
    const T* __restrict x = f.x + (image * f.pixels + pixel) * f.c;
    for (int64_t c = 0; c < f.c; ++c) y[c] += x[c];
  }
  const T share = T(1) / static_cast<T>(f.pixels);
  for (int64_t c = 0; c < f.c; ++c) y[c] *= share;
}

template <class T>
FLYBALL_INLINE void image_body(const GlobalAveragePoolBackward<T>& b, int64_t image) {
  const T share = T(1) / static_cast<T>(b.pixels);
  const T* __restrict dy = b.dy + image * b.c;
  for (int64_t pixel = 0; pixel < b.pixels; ++pixel) {
    T* __restrict dx = b.dx + (image * b.pixels + pixel) * b.c;
    if (b.accumulate) {
      for (int64_t c = 0; c < b.c; ++c) dx[c] += share * dy[c];
    } else {
      for (int64_t c = 0; c < b.c; ++c) dx[c] = share * dy[c];
    }
  }
}

FLYBALL_SIMD void run_image(const MaxPool2dForward<float>& f, int64_t i) { image_body(f, i); }
FLYBALL_SIMD void run_image(const MaxPool2dBackward<float>& b, int64_t i) { image_body(b, i); }
FLYBALL_SIMD void run_image(const AveragePool2dForward<float>& f, int64_t i) { image_body(f, i); }
FLYBALL_SIMD void run_image(const AveragePool2dBackward<float>& b, int64_t i) { image_body(b, i); }
FLYBALL_SIMD void run_image(const GlobalAveragePoolForward<float>& f, int64_t i) {
  image_body(f, i);
}
FLYBALL_SIMD void run_image(const GlobalAveragePoolBackward<float>& b, int64_t i) {
  image_body(b, i);
}
void run_image(const auto& arguments, int64_t i) { image_body(arguments, i); }

template <class Arguments>
void run_images(int64_t images, const Arguments& arguments) {
  parallel_for(images, [&](int64_t i) { run_image(arguments, i); });
}

}  // namespace

template <class T>
void max_pool2d_forward(const MaxPool2dForward<T>& f) {
  run_images(f.shape.n, f);
}
template <class T>
void max_pool2d_backward(const MaxPool2dBackward<T>& b) {
  run_images(b.shape.n, b);
}
template <class T>
void average_pool2d_forward(const AveragePool2dForward<T>& f) {
  run_images(f.shape.n, f);
}
template <class T>
void average_pool2d_backward(const AveragePool2dBackward<T>& b) {
  run_images(b.shape.n, b);
}
template <class T>
void global_average_pool_forward(const GlobalAveragePoolForward<T>& f) {
  run_images(f.n, f);
}
template <class T>
void global_average_pool_backward(const GlobalAveragePoolBackward<T>& b) {
  run_images(b.n, b);
}

template void max_pool2d_forward(const MaxPool2dForward<float>&);
template void max_pool2d_forward(const MaxPool2dForward<double>&);
template void max_pool2d_backward(const MaxPool2dBackward<float>&);
template void max_pool2d_backward(const MaxPool2dBackward<double>&);
template void average_pool2d_forward(const AveragePool2dForward<float>&);
template void average_pool2d_forward(const AveragePool2dForward<double>&);
template void average_pool2d_backward(const AveragePool2dBackward<float>&);
template void average_pool2d_backward(const AveragePool2dBackward<double>&);
template void global_average_pool_forward(const GlobalAveragePoolForward<float>&);
template void global_average_pool_forward(const GlobalAveragePoolForward<double>&);
template void global_average_pool_backward(const GlobalAveragePoolBackward<float>&);
template void global_average_pool_backward(const GlobalAveragePoolBackward<double>&);

}  // namespace flyball::cpu

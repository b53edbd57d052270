#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/pool2d.h"

namespace flyball::reference {

// Calls visit(x index, y index, place in the window) for every real element of every window, in
// the order of y and then of the window.
template <class Visit>
void for_each_pool2d_element(const Pool2dShape& d, Visit visit) {
  for (int64_t n = 0; n < d.n; ++n)
    for (int64_t p = 0; p < d.p(); ++p)
      for (int64_t q = 0; q < d.q(); ++q)
        for (int64_t c = 0; c < d.c; ++c)
          for (int64_t place = 0; place < d.window * d.window; ++place) {
            const int64_t h = p * d.stride + place / d.window - d.padding;
            const int64_t w = q * d.stride + place % d.window - d.padding;
            if (h < 0 || h >= d.h || w < 0 || w >= d.w) continue;
            visit(((n * d.h + h) * d.w + w) * d.c + c, ((n * d.p() + p) * d.q() + q) * d.c + c,
                  static_cast<uint8_t>(place));
          }
}

inline int64_t pool2d_input_count(const Pool2dShape& d) { return d.n * d.h * d.w * d.c; }
inline int64_t pool2d_output_count(const Pool2dShape& d) { return d.n * d.p() * d.q() * d.c; }

inline void max_pool2d_forward(const MaxPool2dForward<double>& f) {
  int64_t last = -1;
  for_each_pool2d_element(f.shape, [&](int64_t x, int64_t y, uint8_t place) {
    if (y == last && f.x[x] <= f.y[y]) return;
    last = y;
    f.y[y] = f.x[x];
    if (f.argmax != nullptr) f.argmax[y] = place;
  });
  for (int64_t y = 0; f.relu && y < pool2d_output_count(f.shape); ++y) {
    if (f.y[y] > 0) continue;
    f.y[y] = 0;
    if (f.argmax != nullptr) f.argmax[y] = kNoWinner;
  }
}

inline void max_pool2d_backward(const MaxPool2dBackward<double>& b) {
  if (!b.accumulate) std::fill_n(b.dx, pool2d_input_count(b.shape), 0.0);
  for_each_pool2d_element(b.shape, [&](int64_t x, int64_t y, uint8_t place) {
    if (b.argmax[y] == place) b.dx[x] += b.dy[y];
  });
}

inline void average_pool2d_forward(const AveragePool2dForward<double>& f) {
  std::fill_n(f.y, pool2d_output_count(f.shape), 0.0);
  const auto area = static_cast<double>(f.shape.window * f.shape.window);
  for_each_pool2d_element(f.shape, [&](int64_t x, int64_t y, uint8_t) { f.y[y] += f.x[x] / area; });
}

inline void average_pool2d_backward(const AveragePool2dBackward<double>& b) {
  if (!b.accumulate) std::fill_n(b.dx, pool2d_input_count(b.shape), 0.0);
  const auto area = static_cast<double>(b.shape.window * b.shape.window);
  for_each_pool2d_element(b.shape,
                          [&](int64_t x, int64_t y, uint8_t) { b.dx[x] += b.dy[y] / area; });
}

inline void global_average_pool_forward(const GlobalAveragePoolForward<double>& f) {
  for (int64_t n = 0; n < f.n; ++n)
    for (int64_t c = 0; c < f.c; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < f.pixels; ++i) sum += f.x[(n * f.pixels + i) * f.c + c];
      f.y[n * f.c + c] = sum / static_cast<double>(f.pixels);
    }
}

inline void global_average_pool_backward(const GlobalAveragePoolBackward<double>& b) {
  for (int64_t n = 0; n < b.n; ++n)
    for (int64_t i = 0; i < b.pixels; ++i)
      for (int64_t c = 0; c < b.c; ++c) {
        double& dx = b.dx[(n * b.pixels + i) * b.c + c];
        dx = (b.accumulate ? dx : 0) + b.dy[n * b.c + c] / static_cast<double>(b.pixels);
      }
}

}  // namespace flyball::reference

#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv2d.h"

namespace flyball::reference {

// Calls visit(x index, filter index, y index) for every product in the formula of
// kernels/conv2d.h, those with the zero padding left out.
template <class Visit>
void for_each_conv2d_product(const Conv2dShape& d, Visit visit) {
  for (int64_t n = 0; n < d.n; ++n)
    for (int64_t p = 0; p < d.p(); ++p)
      for (int64_t q = 0; q < d.q(); ++q)
        for (int64_t k = 0; k < d.k; ++k)
          for (int64_t r = 0; r < d.r; ++r)
            for (int64_t s = 0; s < d.s; ++s)
              for (int64_t c = 0; c < d.c; ++c) {
                const int64_t h = p * d.stride + r - d.padding;
                const int64_t w = q * d.stride + s - d.padding;
                if (h < 0 || h >= d.h || w < 0 || w >= d.w) continue;
                visit(((n * d.h + h) * d.w + w) * d.c + c, ((k * d.r + r) * d.s + s) * d.c + c,
                      ((n * d.p() + p) * d.q() + q) * d.k + k);
              }
}

inline void conv2d_forward(const Conv2dForward<double>& f) {
  const int64_t count = f.shape.n * f.shape.p() * f.shape.q() * f.shape.k;
  for (int64_t i = 0; i < count; ++i) f.y[i] = f.bias == nullptr ? 0 : f.bias[i % f.shape.k];
  for_each_conv2d_product(
      f.shape, [&](int64_t x, int64_t w, int64_t y) { f.y[y] += f.x[x] * f.filters[w]; });
  for (int64_t i = 0; f.relu && i < count; ++i) f.y[i] = std::max(f.y[i], 0.0);
}

inline void conv2d_backward_data(const Conv2dBackwardData<double>& b) {
  const int64_t count = b.shape.n * b.shape.h * b.shape.w * b.shape.c;
  if (!b.accumulate) std::fill_n(b.dx, count, 0.0);
  for_each_conv2d_product(
      b.shape, [&](int64_t x, int64_t w, int64_t y) { b.dx[x] += b.dy[y] * b.filters[w]; });
}

inline void conv2d_backward_weights(const Conv2dBackwardWeights<double>& b) {
  const int64_t count = b.shape.k * b.shape.r * b.shape.s * b.shape.c;
  if (!b.accumulate) std::fill_n(b.dfilters, count, 0.0);
  for_each_conv2d_product(
      b.shape, [&](int64_t x, int64_t w, int64_t y) { b.dfilters[w] += b.dy[y] * b.x[x]; });
}

}  // namespace flyball::reference

#pragma once

#include <cmath>
#include <vector>

#include "kernels/conv2d.h"

// Winograd's F(4x4, 3x3) in double, naive, with the matrices as data: of their absolute values and
// those of the operands, the results are what rounding errors are relative to.
namespace flyball::reference {

// B^T, G and A^T of kernels/cpu/winograd_matrices.h.
struct WinogradMatrices {
  double data[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                       {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  double filter[6][3] = {{1. / 4, 0, 0},
                         {-1. / 6, -1. / 6, -1. / 6},
                         {-1. / 6, 1. / 6, -1. / 6},
                         {1. / 24, 1. / 12, 1. / 6},
                         {1. / 24, -1. / 12, 1. / 6},
                         {0, 0, 1}};
  double output[4][6] = {
      {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
};

inline WinogradMatrices absolute(WinogradMatrices m) {
  for (auto& row : m.data)
    for (double& x : row) x = std::abs(x);
  for (auto& row : m.filter)
    for (double& x : row) x = std::abs(x);
  for (auto& row : m.output)
    for (double& x : row) x = std::abs(x);
  return m;
}

// T x T^T, or with `transpose` T^T x T: [in, in] to [out, out].
template <bool transpose = false, size_t rows, size_t columns, class At>
std::vector<double> both_axes(const double (&t)[rows][columns], At at) {
  constexpr size_t kIn = transpose ? rows : columns, kOut = transpose ? columns : rows;
  const auto entry = [&](size_t i, size_t j) { return transpose ? t[j][i] : t[i][j]; };
  std::vector<double> y(kOut * kOut);
  for (size_t i = 0; i < kIn; ++i)
    for (size_t j = 0; j < kIn; ++j) {
      const double x = at(static_cast<int64_t>(i), static_cast<int64_t>(j));
      for (size_t p = 0; x != 0 && p < kOut; ++p)
        for (size_t q = 0; q < kOut; ++q) y[p * kOut + q] += entry(p, i) * entry(q, j) * x;
    }
  return y;
}

// A pixel of images [n, h, w, c], zero outside.
struct WinogradImages {
  double* data;
  int64_t h, w, c;
  bool inside(int64_t i, int64_t j) const { return i >= 0 && i < h && j >= 0 && j < w; }
  double& at(int64_t image, int64_t i, int64_t j, int64_t channel) const {
    return data[((image * h + i) * w + j) * c + channel];
  }
  double get(int64_t image, int64_t i, int64_t j, int64_t channel) const {
    return inside(i, j) ? at(image, i, j, channel) : 0;
  }
};

// Calls visit(image, row, column) for each 4x4 tile of [h, w].
template <class Visit>
void for_each_winograd_tile(int64_t n, int64_t h, int64_t w, Visit visit) {
  for (int64_t image = 0; image < n; ++image)
    for (int64_t i = 0; i < h; i += 4)
      for (int64_t j = 0; j < w; j += 4) visit(image, i, j);
}

// y += the convolution of x with filter(k, r, s, c).
template <class Filter>
void winograd_convolution(const WinogradImages& x, const WinogradImages& y, int64_t n,
                          int64_t padding, const WinogradMatrices& m, Filter filter) {
  std::vector<std::vector<double>> filters;
  for (int64_t k = 0; k < y.c; ++k)
    for (int64_t c = 0; c < x.c; ++c)
      filters.push_back(
          both_axes(m.filter, [&](int64_t r, int64_t s) { return filter(k, r, s, c); }));
  for_each_winograd_tile(n, y.h, y.w, [&](int64_t image, int64_t h, int64_t w) {
    std::vector<std::vector<double>> data;
    for (int64_t c = 0; c < x.c; ++c)
      data.push_back(both_axes(m.data, [&](int64_t i, int64_t j) {
        return x.get(image, h + i - padding, w + j - padding, c);
      }));
    for (int64_t k = 0; k < y.c; ++k) {
      std::vector<double> sums(36);
      for (int64_t c = 0; c < x.c; ++c)
        for (size_t i = 0; i < 36; ++i)
          sums[i] += filters[static_cast<size_t>(k * x.c + c)][i] * data[static_cast<size_t>(c)][i];
      const std::vector<double> tile = both_axes(
          m.output, [&](int64_t i, int64_t j) { return sums[static_cast<size_t>(i * 6 + j)]; });
      for (int64_t i = 0; i < 4; ++i)
        for (int64_t j = 0; j < 4; ++j)
          if (y.inside(h + i, w + j))
            y.at(image, h + i, w + j, k) += tile[static_cast<size_t>(i * 4 + j)];
    }
  });
}

inline void winograd_forward(const Conv2dForward<double>& f, const WinogradMatrices& m) {
  const Conv2dShape& d = f.shape;
  const int64_t count = d.n * d.p() * d.q() * d.k;
  for (int64_t i = 0; i < count; ++i) f.y[i] = f.bias == nullptr ? 0 : f.bias[i % d.k];
  winograd_convolution({const_cast<double*>(f.x), d.h, d.w, d.c}, {f.y, d.p(), d.q(), d.k}, d.n,
                       d.padding, m, [&](int64_t k, int64_t r, int64_t s, int64_t c) {
                         return f.filters[((k * 3 + r) * 3 + s) * d.c + c];
                       });
  for (int64_t i = 0; f.relu && i < count; ++i) f.y[i] = std::max(f.y[i], 0.0);
}

inline void winograd_backward_data(const Conv2dBackwardData<double>& b, const WinogradMatrices& m) {
  const Conv2dShape& d = b.shape;
  const int64_t count = d.n * d.h * d.w * d.c;
  for (int64_t i = 0; !b.accumulate && i < count; ++i) b.dx[i] = 0;
  winograd_convolution({const_cast<double*>(b.dy), d.p(), d.q(), d.k}, {b.dx, d.h, d.w, d.c}, d.n,
                       2 - d.padding, m, [&](int64_t c, int64_t r, int64_t s, int64_t k) {
                         return b.filters[((k * 3 + 2 - r) * 3 + 2 - s) * d.c + c];
                       });
}

inline void winograd_backward_weights(const Conv2dBackwardWeights<double>& b,
                                      const WinogradMatrices& m) {
  const Conv2dShape& d = b.shape;
  const WinogradImages x{const_cast<double*>(b.x), d.h, d.w, d.c};
  const WinogradImages dy{const_cast<double*>(b.dy), d.p(), d.q(), d.k};
  std::vector<std::vector<double>> sums(static_cast<size_t>(d.k * d.c), std::vector<double>(36));
  for_each_winograd_tile(d.n, d.p(), d.q(), [&](int64_t image, int64_t h, int64_t w) {
    std::vector<std::vector<double>> data;
    for (int64_t c = 0; c < d.c; ++c)
      data.push_back(both_axes(m.data, [&](int64_t i, int64_t j) {
        return x.get(image, h + i - d.padding, w + j - d.padding, c);
      }));
    for (int64_t k = 0; k < d.k; ++k) {
      const std::vector<double> gradient = both_axes<true>(
          m.output, [&](int64_t i, int64_t j) { return dy.get(image, h + i, w + j, k); });
      for (int64_t c = 0; c < d.c; ++c)
        for (size_t i = 0; i < 36; ++i)
          sums[static_cast<size_t>(k * d.c + c)][i] +=
              gradient[i] * data[static_cast<size_t>(c)][i];
    }
  });
  for (int64_t k = 0; k < d.k; ++k)
    for (int64_t c = 0; c < d.c; ++c) {
      const std::vector<double> filter = both_axes<true>(m.filter, [&](int64_t i, int64_t j) {
        return sums[static_cast<size_t>(k * d.c + c)][static_cast<size_t>(i * 6 + j)];
      });
      for (int64_t i = 0; i < 9; ++i) {
        double& to = b.dfilters[(k * 9 + i) * d.c + c];
        to = (b.accumulate ? to : 0) + filter[static_cast<size_t>(i)];
      }
    }
}

}  // namespace flyball::reference

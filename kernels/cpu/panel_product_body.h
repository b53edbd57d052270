#pragma once

#include "kernels/cpu/panel_product.h"
#include "kernels/cpu/vectors.h"

// panel_product.h for an instruction set: Isa::kRows rows of two vectors are summed in registers.
namespace flyball::cpu {

template <class Isa>
inline constexpr int64_t kPanelWidth = 2 * Isa::kWidth;

template <class Isa>
struct PanelProductBody {
  using Vector = typename Vectors<Isa>::Vector;
  static constexpr int64_t kPanel = kPanelWidth<Isa>;

  // sums += the products of `count` steps of depth, from one slice where a is not transposed.
  template <int rows, int vectors, bool transpose_a>
  FLYBALL_INLINE static void add_products(Vector (&sums)[rows][vectors], const float* a,
                                          const float* b, int64_t count) {
    constexpr int64_t kRowStep = transpose_a ? 1 : kSliceWidth;
    constexpr int64_t kDepthStep = transpose_a ? kSliceWidth : 1;
    for (int64_t d = 0; d < count; ++d) {
      Vector b_row[vectors];
#pragma GCC unroll 2
      for (int j = 0; j < vectors; ++j) {
        b_row[j] = Vectors<Isa>::load(b + d * kPanel + j * Isa::kWidth);
      }
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const float x = a[i * kRowStep + d * kDepthStep];
#pragma GCC unroll 2
        for (int j = 0; j < vectors; ++j) sums[i][j] += x * b_row[j];
      }
    }
  }

  // p for `rows` rows, all of one slice where a is transposed.
  template <int rows, int vectors, bool transpose_a>
  static void multiply_rows(const PanelProduct& p, const float* a, float* c) {
    Vector sums[rows][vectors] = {};
    if constexpr (transpose_a) {
      add_products<rows, vectors, true>(sums, a, p.b, p.depth);
    } else {
      int64_t d = 0;
      for (; d + kSliceWidth <= p.depth; d += kSliceWidth, a += p.slice_stride) {
        add_products<rows, vectors, false>(sums, a, p.b + d * kPanel, kSliceWidth);
      }
      add_products<rows, vectors, false>(sums, a, p.b + d * kPanel, p.depth - d);
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < vectors; ++j) {
        float* to = c + i * kPanel + j * Isa::kWidth;
        Vectors<Isa>::store(to, p.accumulate ? Vectors<Isa>::load(to) + sums[i][j] : sums[i][j]);
      }
    }
  }

  template <int rows, int vectors, bool transpose_a>
  static void choose_rows(int64_t count, const PanelProduct& p, const float* a, float* c) {
    if constexpr (rows > 1) {
      if (count < rows) return choose_rows<rows - 1, vectors, transpose_a>(count, p, a, c);
    }
    multiply_rows<rows, vectors, transpose_a>(p, a, c);
  }

  // `count` rows in the fewest groups that registers allow, as even as can be.
  template <int vectors, bool transpose_a>
  static void multiply_even(int64_t count, const PanelProduct& p, const float* a, float* c) {
    int64_t groups = (count + Isa::kRows - 1) / Isa::kRows;
    for (int64_t i = 0; groups > 0; --groups) {
      const int64_t rows = (count - i + groups - 1) / groups;
      choose_rows<Isa::kRows, vectors, transpose_a>(
          rows, p, a + i * (transpose_a ? 1 : kSliceWidth), c + i * kPanel);
      i += rows;
    }
  }

  template <int vectors>
  static void multiply_columns(const PanelProduct& p) {
    if (!p.transpose_a) return multiply_even<vectors, false>(p.m, p, p.a, p.c);
    const float* a = p.a;
    for (int64_t i = 0; i < p.m; i += kSliceWidth, a += p.slice_stride) {
      const int64_t rows = p.m - i < kSliceWidth ? p.m - i : kSliceWidth;
      multiply_even<vectors, true>(rows, p, a, p.c + i * kPanel);
    }
  }

  static void multiply(const PanelProduct& p) {
    if (p.columns > Isa::kWidth) {
      multiply_columns<2>(p);
    } else {
      multiply_columns<1>(p);
    }
  }
};

}  // namespace flyball::cpu

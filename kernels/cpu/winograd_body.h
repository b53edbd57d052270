#pragma once

#include <utility>

#include "kernels/cpu/panel_product_body.h"
#include "kernels/cpu/winograd_kernels.h"
#include "kernels/cpu/winograd_matrices.h"

// winograd_kernels.h for an instruction set.
namespace flyball::cpu::winograd {

template <class Isa>
struct Body {
  using Float = Vectors<Isa>;
  using Vector = typename Float::Vector;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int64_t kPanel = kPanelWidth<Isa>;

  FLYBALL_INLINE static Vector load(const float* from, int64_t, Constant<true>) {
    return Float::load(from);
  }
  FLYBALL_INLINE static Vector load(const float* from, int64_t count, Constant<false>) {
    return Float::load_part(from, count);
  }
  FLYBALL_INLINE static void store(float* to, Vector x, int64_t, Constant<true>) {
    Float::store(to, x);
  }
  FLYBALL_INLINE static void store(float* to, Vector x, int64_t count, Constant<false>) {
    Float::store_part(to, x, count);
  }
  FLYBALL_INLINE static void store_points(const Vector* points, float* to, int64_t stride) {
    for (int i = 0; i < kPoints; ++i) Float::store(to + i * stride, points[i]);
  }
  FLYBALL_INLINE static void load_points(const float* from, int64_t stride, Vector* points) {
    for (int i = 0; i < kPoints; ++i) points[i] = Float::load(from + i * stride);
  }

  // The image and the first row and column of a tile.
  struct Place {
    int64_t image, h, w;
  };
  static Place place_of(const TiledImages& shape, int64_t tile) {
    const int64_t row = tile / shape.tiles_w;
    return {row / shape.tiles_h, row % shape.tiles_h * kTile - shape.padding,
            tile % shape.tiles_w * kTile - shape.padding};
  }

  template <class Transform>
  static void transform_patches(const TransformPatches& p) {
    constexpr int kSize = Transform::kIn;
    const int64_t c = p.shape.channels;
    for (int64_t t = 0; t < p.tiles.count; ++t) {
      const Place place = place_of(p.shape, p.tiles.first + t);
      const float* pixels[kSize * kSize];
      for (int i = 0; i < kSize; ++i) {
        const int64_t h = place.h + i;
        for (int j = 0; j < kSize; ++j) {
          const int64_t w = place.w + j;
          const bool inside = h >= 0 && h < p.shape.h && w >= 0 && w < p.shape.w;
          pixels[i * kSize + j] =
              inside ? p.images + ((place.image * p.shape.h + h) * p.shape.w + w) * c : p.zeros;
        }
      }
      for_each_vector<Isa>(c, [&](int64_t channel, auto full) {
        Vector x[kSize * kSize], points[kPoints];
        for (int i = 0; i < kSize * kSize; ++i) x[i] = load(pixels[i] + channel, c - channel, full);
        transform_both_axes<Transform>(x, points);
        store_points(points, p.to.at(p.row + t, channel), p.to.point_stride);
      });
    }
  }

  // Rows and columns of `rows` change places: bit by bit of their numbers.
  template <int step, int... lane>
  FLYBALL_INLINE static void transpose(Vector* rows, std::integer_sequence<int, lane...> lanes) {
    if constexpr (step < kWidth) {
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        if ((i & step) != 0) continue;
        const Vector a = rows[i], b = rows[i + step];
        rows[i] =
            __builtin_shufflevector(a, b, ((lane & step) != 0 ? lane - step + kWidth : lane)...);
        rows[i + step] =
            __builtin_shufflevector(a, b, ((lane & step) != 0 ? lane + kWidth : lane + step)...);
      }
      transpose<2 * step>(rows, lanes);
    }
  }

  static void transform_filters(const TransformFilters& f) {
    for_each_vector<Isa>(f.rows, [&](int64_t row, auto full) {
      const int64_t channels = full.kValue ? kWidth : f.rows - row;
      for (int64_t column = 0; column < f.columns; column += kWidth) {
        const int64_t filters = f.columns - column;
        const float* from = f.filters + (f.first_column + column) * 9 * f.c + f.row + row;
        Vector taps[9][kWidth];
        for (int tap = 0; tap < 9; ++tap) {
          for (int64_t i = 0; i < kWidth; ++i) {
            taps[tap][i] =
                i < filters ? load(from + (i * 9 + tap) * f.c, channels, full) : Vector{};
          }
          transpose<1>(taps[tap], std::make_integer_sequence<int, kWidth>());
        }
        for (int64_t i = 0; i < channels; ++i) {
          Vector x[9], points[kPoints];
          for (int tap = 0; tap < 9; ++tap) x[tap] = taps[tap][i];
          transform_both_axes<FilterTransform>(x, points);
          store_points(points, f.to.at(row + i, column), f.to.point_stride);
        }
      }
    });
  }

  static void transform_turned_filters(const TransformFilters& f) {
    for (int64_t row = 0; row < f.rows; ++row) {
      for_each_vector<Isa>(f.columns, [&](int64_t column, auto full) {
        const float* from = f.filters + (f.row + row) * 9 * f.c + f.first_column + column;
        Vector x[9], points[kPoints];
        for (int tap = 0; tap < 9; ++tap) {
          x[tap] = load(from + (8 - tap) * f.c, f.columns - column, full);
        }
        transform_both_axes<FilterTransform>(x, points);
        store_points(points, f.to.at(row, column), f.to.point_stride);
      });
    }
  }

  static void transform_outputs(const TransformOutputs& o) {
    const int64_t c = o.shape.channels;
    for (int64_t t = 0; t < o.tiles.count; ++t) {
      const Place place = place_of(o.shape, o.tiles.first + t);
      const int64_t rows = o.shape.h - place.h < kTile ? o.shape.h - place.h : kTile;
      const int64_t columns = o.shape.w - place.w < kTile ? o.shape.w - place.w : kTile;
      float* tile = o.images + ((place.image * o.shape.h + place.h) * o.shape.w + place.w) * c +
                    o.first_channel;
      for_each_vector<Isa>(o.channels, [&](int64_t channel, auto full) {
        const int64_t count = o.channels - channel;
        Vector points[kPoints], y[kTile * kTile];
        load_points(o.m.at(t, channel), o.m.point_stride, points);
        transform_both_axes<OutputTransform>(points, y);
        const Vector bias =
            o.bias == nullptr ? Vector{} : load(o.bias + o.first_channel + channel, count, full);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < columns; ++j) {
            float* to = tile + (i * o.shape.w + j) * c + channel;
            Vector value = y[i * kTile + j] + bias;
            if (o.relu) value = value < 0 ? Vector{} : value;
            if (o.accumulate) value += load(to, count, full);
            store(to, value, count, full);
          }
        }
      });
    }
  }

  static void transform_filter_gradients(const TransformFilterGradients& g) {
    for (int64_t k = 0; k < g.filters; ++k) {
      float* filter = g.dfilters + (g.first_filter + k) * 9 * g.c + g.first_channel;
      for_each_vector<Isa>(g.channels, [&](int64_t channel, auto full) {
        const int64_t count = g.channels - channel;
        Vector points[kPoints], taps[9];
        load_points(g.m.at(k, 0) + channel, g.m.point_stride, points);
        transform_both_axes<FilterGradientTransform>(points, taps);
        for (int tap = 0; tap < 9; ++tap) {
          float* to = filter + tap * g.c + channel;
          store(to, g.accumulate ? taps[tap] + load(to, count, full) : taps[tap], count, full);
        }
      });
    }
  }

  static constexpr Kernels kKernels{.panel_width = kPanel,
                                    .multiply = PanelProductBody<Isa>::multiply,
                                    .transform_data = transform_patches<DataTransform>,
                                    .transform_gradients = transform_patches<GradientTransform>,
                                    .transform_filters = transform_filters,
                                    .transform_turned_filters = transform_turned_filters,
                                    .transform_outputs = transform_outputs,
                                    .transform_filter_gradients = transform_filter_gradients};
};

}  // namespace flyball::cpu::winograd

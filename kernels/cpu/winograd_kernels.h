#pragma once

#include <cstdint>

#include "kernels/cpu/panel_product.h"

// The parts of winograd.h that are compiled for each instruction set, as a table of functions.
namespace flyball::cpu::winograd {

inline constexpr int64_t kTile = 4;     // rows and columns of y that a tile is
inline constexpr int64_t kPatch = 6;    // and of x that it is made of
inline constexpr int64_t kPoints = 36;  // products that a tile is made of, for each channel

// One [rows, columns] matrix for each of the 36 points, as slices (width 16) or panels.
struct PointMatrices {
  float* data = nullptr;
  int64_t point_stride = 0;  // between the points
  int64_t rows = 0;
  int64_t width = 0;  // of a slice or panel
  // Where the 16 columns or the panel of columns that begin at `column` hold `row`.
  float* at(int64_t row, int64_t column) const {
    return data + (column / width * rows + row) * width + column % width;
  }
};

// Images [n, h, w, channels], of which tile i has the rows and columns that begin at
// 4 (its row among the tiles) - padding and 4 (its column) - padding.
struct TiledImages {
  int64_t h = 0, w = 0, channels = 0;
  int64_t tiles_h = 0, tiles_w = 0;  // of an image
  int64_t padding = 0;
};

struct Tiles {
  int64_t first = 0, count = 0;
};

// to, rows row .. row + tiles.count - 1: the transformed patches of these tiles, 6x6 of x or 4x4 of
// dy. What is outside of an image is zero, read from `zeros`: 0 for each channel.
struct TransformPatches {
  const float* images = nullptr;
  const float* zeros = nullptr;
  TiledImages shape;
  Tiles tiles;
  PointMatrices to;
  int64_t row = 0;
};

// Some rows and columns of the transformed filters, to the rows and panels from `to` on: of [c, k],
// or of [k, c] with the filters turned by 180 degrees. filters: [k, 3, 3, c].
struct TransformFilters {
  const float* filters = nullptr;
  int64_t c = 0;
  int64_t row = 0, rows = 0;
  int64_t first_column = 0, columns = 0;
  PointMatrices to;
};

// images (+)= relu?(A^T m A + bias?) for the columns of one panel, from m: [tiles.count, P] for
// each point.
struct TransformOutputs {
  PointMatrices m;
  float* images = nullptr;
  TiledImages shape;
  Tiles tiles;
  int64_t first_channel = 0, channels = 0;
  const float* bias = nullptr;
  bool relu = false;
  bool accumulate = false;
};

// dfilters (+)= G^T m G for filters first_filter .. first_filter + filters - 1 and the channels of
// one panel, from m: [filters, P] for each point.
struct TransformFilterGradients {
  PointMatrices m;
  float* dfilters = nullptr;
  int64_t c = 0;
  int64_t first_filter = 0, filters = 0;
  int64_t first_channel = 0, channels = 0;
  bool accumulate = false;
};

struct Kernels {
  int64_t panel_width;
  void (*multiply)(const PanelProduct&);
  void (*transform_data)(const TransformPatches&);       // x
  void (*transform_gradients)(const TransformPatches&);  // dy
  void (*transform_filters)(const TransformFilters&);
  void (*transform_turned_filters)(const TransformFilters&);
  void (*transform_outputs)(const TransformOutputs&);
  void (*transform_filter_gradients)(const TransformFilterGradients&);
};

const Kernels& portable_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();

}  // namespace flyball::cpu::winograd

#include "kernels/cpu/winograd.h"

#include <algorithm>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/winograd_kernels.h"

namespace flyball::cpu::winograd {
namespace {

int64_t ceil_div(int64_t count, int64_t by) { return (count + by - 1) / by; }
int64_t round_up(int64_t count, int64_t multiple) { return ceil_div(count, multiple) * multiple; }

// Tiles that are transformed and multiplied before the next, for filters of c x k: few enough for
// half a megabyte to hold their `channels`, and not so few that large filters are read from memory
// all the time.
int64_t group_size(int64_t channels, int64_t c, int64_t k) {
  constexpr int64_t kFloats = int64_t{1} << 17, kLargeFilters = int64_t{1} << 20;
  const int64_t least = kPoints * c * k > kLargeFilters ? 64 : 32;
  return std::clamp<int64_t>(kFloats / (kPoints * channels), least, 256);
}

const Kernels& kernels() {
#ifdef __x86_64__
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return avx512_kernels();
    case InstructionSet::kAvx2:
      return avx2_kernels();
    case InstructionSet::kPortable:
      break;
  }
#endif
  return portable_kernels();
}

// A line more than the matrix between points: a power of two would put all 36 into the same set of
// the cache.
int64_t point_stride_of(int64_t rows, int64_t columns, int64_t width) {
  return rows * round_up(columns, width) + kSliceWidth;
}

// 36 matrices in the calling thread's scratch memory.
template <class Tag>
PointMatrices matrices(int64_t rows, int64_t columns, int64_t width) {
  const int64_t stride = point_stride_of(rows, columns, width);
  return {scratch<Tag, float>(kPoints * stride), stride, rows, width};
}

template <class Tag>
const float* zeros(int64_t channels) {
  float* data = scratch<Tag, float>(channels);
  std::fill_n(data, channels, 0.0F);
  return data;
}

int64_t tiles_across(int64_t pixels) { return ceil_div(pixels, kTile); }

// y (+)= relu?(convolution + bias?), of x with filters [k, 3, 3, c] or with turned ones.
struct Convolution {
  const float* x = nullptr;
  TiledImages from;
  const float* filters = nullptr;
  bool turned = false;
  float* y = nullptr;
  TiledImages to;
  int64_t images = 0;
  const float* bias = nullptr;
  bool relu = false;
  bool accumulate = false;
};

// The tiles of a convolution, in groups, and its channels, in blocks of some panels.
class Convolver {
 public:
  explicit Convolver(const Convolution& v)
      : v_(v),
        c_(v.from.channels),
        k_(v.to.channels),
        width_(kernels().panel_width),
        blocks_(ceil_div(k_, kBlock)),
        tiles_(v.images * v.to.tiles_h * v.to.tiles_w),
        group_(group_size(c_, c_, k_)) {}

  void run() {
    const int64_t groups = ceil_div(tiles_, group_);
    zeros_ = zeros<struct Padding>(c_);
    if (groups > kMostRepeats) transform_all_filters();
    // Where groups are few, each is taken several times, for some of the blocks each time. No sum
    // is cut by that.
    const int64_t parts =
        threads() == 1 ? 1 : std::clamp<int64_t>(ceil_div(2 * threads(), groups), 1, blocks_);
    parallel_for(groups * parts, [&](int64_t i) {
      const int64_t first = i / parts * group_, part = i % parts;
      convolve({first, std::min(group_, tiles_ - first)}, part * blocks_ / parts,
               (part + 1) * blocks_ / parts);
    });
  }

 private:
  static constexpr int64_t kBlock = 64;
  // Up to so many groups transform the filters anew, which stay in the cache then.
  static constexpr int64_t kMostRepeats = 2;
  // Channels that are summed in a row: a block's filters of so many stay in the cache, and the sum
  // of sums has smaller errors.
  static constexpr int64_t kDepth = 64;

  int64_t columns_of(int64_t block) const { return std::min(kBlock, k_ - block * kBlock); }

  void transform_filters(int64_t block, int64_t row, int64_t rows, const PointMatrices& to) const {
    const TransformFilters filters{.filters = v_.filters,
                                   .c = v_.turned ? k_ : c_,
                                   .row = row,
                                   .rows = rows,
                                   .first_column = block * kBlock,
                                   .columns = columns_of(block),
                                   .to = to};
    (v_.turned ? kernels().transform_turned_filters : kernels().transform_filters)(filters);
  }

  void transform_all_filters() {
    filters_ = matrices<struct AllFilters>(c_, k_, width_);
    parallel_for(blocks_,
                 [&](int64_t block) { transform_filters(block, 0, c_, filters_of(block, 0, c_)); });
  }
  // A block from row `row` on.
  PointMatrices filters_of(int64_t block, int64_t row, int64_t rows) const {
    if (filters_.data != nullptr) {
      return {filters_.at(row, block * kBlock), filters_.point_stride, c_, width_};
    }
    const PointMatrices filters = matrices<struct SomeFilters>(rows, kBlock, width_);
    transform_filters(block, row, rows, filters);
    return filters;
  }

  // The products of tiles with a block of filters.
  void multiply(int64_t tiles, const PointMatrices& data, int64_t block,
                const PointMatrices& products) const {
    for (int64_t row = 0; row < c_; row += kDepth) {
      const int64_t rows = std::min(kDepth, c_ - row);
      const PointMatrices filters = filters_of(block, row, rows);
      for (int64_t point = 0; point < kPoints; ++point) {
        for (int64_t column = 0; column < columns_of(block); column += width_) {
          kernels().multiply({.a = data.at(0, row) + point * data.point_stride,
                              .slice_stride = data.rows * data.width,
                              .b = filters.at(0, column) + point * filters.point_stride,
                              .c = products.at(0, column) + point * products.point_stride,
                              .m = tiles,
                              .depth = rows,
                              .columns = std::min(width_, columns_of(block) - column),
                              .accumulate = row > 0});
        }
      }
    }
  }

  void convolve(const Tiles& tiles, int64_t first_block, int64_t last_block) const {
    const PointMatrices data = matrices<struct Data>(tiles.count, c_, kSliceWidth);
    kernels().transform_data(
        {.images = v_.x, .zeros = zeros_, .shape = v_.from, .tiles = tiles, .to = data});
    const PointMatrices products = matrices<struct Products>(tiles.count, kBlock, width_);
    for (int64_t block = first_block; block < last_block; ++block) {
      multiply(tiles.count, data, block, products);
      kernels().transform_outputs({.m = products,
                                   .images = v_.y,
                                   .shape = v_.to,
                                   .tiles = tiles,
                                   .first_channel = block * kBlock,
                                   .channels = columns_of(block),
                                   .bias = v_.bias,
                                   .relu = v_.relu,
                                   .accumulate = v_.accumulate});
    }
  }

  const Convolution& v_;
  int64_t c_, k_, width_, blocks_, tiles_, group_;
  const float* zeros_ = nullptr;
  PointMatrices filters_{};  // of all blocks, or none
};

bool possible(const Conv2dShape& d) {
  return d.r == 3 && d.s == 3 && d.stride == 1 && d.padding >= 0 && d.padding <= 2 && d.n > 0 &&
         d.c > 0 && d.k > 0 && d.p() > 0 && d.q() > 0;
}

// h x w: the images that are cut into tiles.
bool chosen(const Conv2dShape& d, int64_t h, int64_t w) {
  if (winograd_use() == WinogradUse::kOff || !possible(d)) return false;
  if (winograd_use() == WinogradUse::kAlways) return true;
  const int64_t tiles = d.n * tiles_across(h) * tiles_across(w);
  return d.c >= 16 && d.k >= 16 && tiles >= 4 && d.n * h * w >= 8 * tiles;
}

TiledImages tiled(int64_t h, int64_t w, int64_t channels, int64_t padding, int64_t tiled_h,
                  int64_t tiled_w) {
  return {h, w, channels, tiles_across(tiled_h), tiles_across(tiled_w), padding};
}

// The gradient of the filters. Groups of tiles are transformed and multiplied one after the other;
// where the sums are small, some parts of the groups have sums of their own, so that threads meet
// once and not twice a group.
class FilterGradient {
 public:
  explicit FilterGradient(const Conv2dBackwardWeights<float>& b)
      : b_(b),
        d_(b.shape),
        x_(tiled(d_.h, d_.w, d_.c, d_.padding, d_.p(), d_.q())),
        dy_(tiled(d_.p(), d_.q(), d_.k, 0, d_.p(), d_.q())),
        width_(kernels().panel_width),
        panels_(ceil_div(d_.c, width_)),
        blocks_(ceil_div(d_.k, kRows) * panels_),
        block_stride_(point_stride_of(kRows, width_, width_)),
        tiles_(d_.n * dy_.tiles_h * dy_.tiles_w),
        group_(std::min(tiles_, group_size((d_.c + d_.k) / 2, d_.c, d_.k))),
        groups_(ceil_div(tiles_, group_)),
        parts_(blocks_ * kPoints * block_stride_ <= kSmallSums ? std::min(kParts, groups_) : 1) {}

  void run() {
    zeros_ = zeros<struct Padding>(std::max(d_.c, d_.k));
    if (groups_ == 1) return run_one_group();
    const int64_t size = blocks_ * kPoints * block_stride_;
    float* sums = scratch<struct Sums, float>(parts_ * size);
    parallel_for(parts_, [&](int64_t part) {
      const int64_t begin = part * groups_ / parts_;
      for (int64_t i = begin; i < (part + 1) * groups_ / parts_; ++i) {
        const Group group = transform(i);
        parallel_for(blocks_, [&](int64_t block) {
          multiply(group, block, sums + part * size + block * kPoints * block_stride_, i > begin);
        });
      }
    });
    parallel_for(blocks_, [&](int64_t block) {
      float* products = sums + block * kPoints * block_stride_;
      for (int64_t part = 1; part < parts_; ++part) {
        add_to(products, products + part * size, kPoints * block_stride_);
      }
      finish(block, products);
    });
  }

 private:
  static constexpr int64_t kRows = 32;         // filters of a block of products, by a panel
  static constexpr int64_t kTilesAtOnce = 16;  // transformed at a time
  static constexpr int64_t kParts = 4, kSmallSums = int64_t{1} << 20;

  struct Group {
    PointMatrices data, gradients;
    int64_t tiles = 0;
  };

  Group transform(int64_t i) const {
    const int64_t first = i * group_;
    const Group group{matrices<struct Data>(group_, d_.c, width_),
                      matrices<struct Gradients>(group_, d_.k, kSliceWidth),
                      std::min(group_, tiles_ - first)};
    parallel_for(ceil_div(group.tiles, kTilesAtOnce), [&](int64_t at) {
      const int64_t row = at * kTilesAtOnce;
      const Tiles some{first + row, std::min(kTilesAtOnce, group.tiles - row)};
      kernels().transform_data({b_.x, zeros_, x_, some, group.data, row});
      kernels().transform_gradients({b_.dy, zeros_, dy_, some, group.gradients, row});
    });
    return group;
  }

  int64_t filter_of(int64_t block) const { return block / panels_ * kRows; }
  int64_t channel_of(int64_t block) const { return block % panels_ * width_; }

  void multiply(const Group& group, int64_t block, float* products, bool accumulate) const {
    const int64_t filter = filter_of(block), channel = channel_of(block);
    const PointMatrices &a = group.gradients, &b = group.data;
    for (int64_t point = 0; point < kPoints; ++point) {
      kernels().multiply({.a = a.at(0, filter) + point * a.point_stride,
                          .slice_stride = a.rows * kSliceWidth,
                          .b = b.at(0, channel) + point * b.point_stride,
                          .c = products + point * block_stride_,
                          .m = std::min(kRows, d_.k - filter),
                          .depth = group.tiles,
                          .columns = std::min(width_, d_.c - channel),
                          .transpose_a = true,
                          .accumulate = accumulate});
    }
  }

  void finish(int64_t block, float* products) const {
    const int64_t filter = filter_of(block), channel = channel_of(block);
    kernels().transform_filter_gradients({.m = {products, block_stride_, kRows, width_},
                                          .dfilters = b_.dfilters,
                                          .c = d_.c,
                                          .first_filter = filter,
                                          .filters = std::min(kRows, d_.k - filter),
                                          .first_channel = channel,
                                          .channels = std::min(width_, d_.c - channel),
                                          .accumulate = b_.accumulate});
  }

  void run_one_group() const {
    const Group group = transform(0);
    parallel_for(blocks_, [&](int64_t block) {
      float* products = scratch<struct Products, float>(kPoints * block_stride_);
      multiply(group, block, products, false);
      finish(block, products);
    });
  }

  const Conv2dBackwardWeights<float>& b_;
  const Conv2dShape& d_;
  TiledImages x_, dy_;
  int64_t width_, panels_, blocks_, block_stride_, tiles_, group_, groups_, parts_;
  const float* zeros_ = nullptr;
};

}  // namespace

bool applies(const Conv2dForward<float>& f) { return chosen(f.shape, f.shape.p(), f.shape.q()); }
bool applies(const Conv2dBackwardData<float>& b) { return chosen(b.shape, b.shape.h, b.shape.w); }
bool applies(const Conv2dBackwardWeights<float>& b) {
  const Conv2dShape& d = b.shape;
  return chosen(d, d.p(), d.q()) &&
         (winograd_use() == WinogradUse::kAlways || d.n * d.p() * d.q() >= 128);
}

void conv2d_forward(const Conv2dForward<float>& f) {
  const Conv2dShape& d = f.shape;
  const Convolution convolution{.x = f.x,
                                .from = tiled(d.h, d.w, d.c, d.padding, d.p(), d.q()),
                                .filters = f.filters,
                                .y = f.y,
                                .to = tiled(d.p(), d.q(), d.k, 0, d.p(), d.q()),
                                .images = d.n,
                                .bias = f.bias,
                                .relu = f.relu};
  Convolver(convolution).run();
}

void conv2d_backward_data(const Conv2dBackwardData<float>& b) {
  const Conv2dShape& d = b.shape;
  const Convolution convolution{.x = b.dy,
                                .from = tiled(d.p(), d.q(), d.k, 2 - d.padding, d.h, d.w),
                                .filters = b.filters,
                                .turned = true,
                                .y = b.dx,
                                .to = tiled(d.h, d.w, d.c, 0, d.h, d.w),
                                .images = d.n,
                                .accumulate = b.accumulate};
  Convolver(convolution).run();
}

void conv2d_backward_weights(const Conv2dBackwardWeights<float>& b) { FilterGradient(b).run(); }

}  // namespace flyball::cpu::winograd

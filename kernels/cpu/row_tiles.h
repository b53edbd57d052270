#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/batch_norm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/simd.h"

// How batch norm cuts [rows, c] on the CPU: into tiles of kColumnSumRows rows, of which each has
// sums of its own, and those into ranges for threads.
namespace flyball::cpu {

struct RowRange {
  int64_t begin, end;
};

enum RangeOrder { kFirstFirst, kLastFirst };

// Calls body(range) for ranges of whole tiles, on any thread and in any order; with kLastFirst
// about from the end, as what the pass before has read last is still in a cache.
template <class Body>
void for_row_ranges(int64_t rows, int64_t c, RangeOrder order, Body&& body) {
  const int64_t tile_values = kColumnSumRows * c;
  const int64_t range_rows =
      (kPieceElements + tile_values - 1) / tile_values * int64_t{kColumnSumRows};
  const int64_t ranges = (rows + range_rows - 1) / range_rows;
  parallel_for(ranges, [&](int64_t i) {
    const int64_t range = order == kLastFirst ? ranges - 1 - i : i;
    body(RowRange{range * range_rows, std::min((range + 1) * range_rows, rows)});
  });
}

inline int64_t tiles_of(int64_t rows) { return (rows + kColumnSumRows - 1) / kColumnSumRows; }
FLYBALL_INLINE int64_t rows_of_tile(int64_t first, int64_t rows) {
  return std::min<int64_t>(kColumnSumRows, rows - first);
}

// Scratch memory: two sums of each tile, [tiles, 2, c], and of all, and factors of each channel.
struct TileSums;
struct Totals;
struct Coefficients;

}  // namespace flyball::cpu

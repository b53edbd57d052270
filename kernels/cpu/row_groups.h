#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/scratch.h"

namespace flyball::cpu {

inline constexpr int64_t kTileRows = 64;
inline constexpr int64_t kTileColumns = 256;

// Rows [row_begin, row_end), columns [column_begin, column_end): at most kTileRows x kTileColumns.
struct RowTile {
  int64_t row_begin = 0, row_end = 0;
  int64_t column_begin = 0, column_end = 0;
};

// result[column] (+)= the sum over all rows of what add_tile(tile, totals) adds to totals[column -
// tile.column_begin], in f64. The rows are cut in at most 32 groups that depend on the shape alone;
// the tiles of a group run in order on one thread, and the groups are added in order.
template <class T, class AddTile>
void sum_row_groups(int64_t rows, int64_t columns, T* result, bool accumulate, AddTile&& add_tile) {
  constexpr int64_t kGroups = 32;
  const int64_t wanted =
      std::max((rows + kGroups - 1) / kGroups, kPieceElements / std::max<int64_t>(columns, 1));
  const int64_t group_rows = (wanted + kTileRows - 1) / kTileRows * kTileRows;
  const int64_t groups = (rows + group_rows - 1) / group_rows;
  struct RowGroupTotals;
  double* totals = scratch<RowGroupTotals, double>(groups * columns);
  std::fill_n(totals, groups * columns, 0.0);
  parallel_for(groups, [&](int64_t group) {
    const int64_t group_begin = group * group_rows;
    const int64_t group_end = std::min(group_begin + group_rows, rows);
    for (int64_t column = 0; column < columns; column += kTileColumns) {
      const int64_t column_end = std::min(column + kTileColumns, columns);
      for (int64_t row = group_begin; row < group_end; row += kTileRows) {
        add_tile(RowTile{row, std::min(row + kTileRows, group_end), column, column_end},
                 totals + group * columns + column);
      }
    }
  });
  for (int64_t column = 0; column < columns; ++column) {
    double sum = accumulate ? static_cast<double>(result[column]) : 0;
    for (int64_t group = 0; group < groups; ++group) sum += totals[group * columns + column];
    result[column] = static_cast<T>(sum);
  }
}

}  // namespace flyball::cpu

#include "kernels/reduce.h"

#include <algorithm>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/row_groups.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"

namespace flyball::cpu {
namespace {

// The sum of squares in f64, a short block at a time.
template <class T>
FLYBALL_INLINE double finite_squares(const T* x, int64_t count) {
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += kLaneBlock) {
    const int64_t length = std::min(kLaneBlock, count - begin);
    alignas(64) double squares[kLaneBlock];
    for (int64_t i = 0; i < length; ++i) {
      const double value = static_cast<double>(x[begin + i]);
      const double finite = value - value == 0 ? value : 0;
      squares[i] = finite * finite;
    }
    sum += sum_in_lanes(squares, length);
  }
  return sum;
}

FLYBALL_SIMD double sum_of(const float* x, int64_t count) { return sum_in_lanes(x, count); }
double sum_of(const double* x, int64_t count) { return sum_in_lanes(x, count); }

FLYBALL_SIMD double sum_of_finite_squares(const float* x, int64_t count) {
  return finite_squares(x, count);
}
double sum_of_finite_squares(const double* x, int64_t count) { return finite_squares(x, count); }

// Pieces on any thread, then their sums in order.
template <class T, class SumPiece>
double sum_pieces(const T* x, int64_t count, SumPiece&& sum_piece) {
  struct PieceSums;
  const int64_t pieces = (count + kPieceElements - 1) / kPieceElements;
  double* sums = scratch<PieceSums, double>(pieces);
  for_pieces(count, [&](int64_t begin, int64_t end) {
    sums[begin / kPieceElements] = sum_piece(x + begin, end - begin);
  });
  double sum = 0;
  for (int64_t i = 0; i < pieces; ++i) sum += sums[i];
  return sum;
}

template <class T>
FLYBALL_INLINE void add_tile(const ReduceRows<T>& a, const RowTile& tile, double* totals) {
  const int64_t columns = tile.column_end - tile.column_begin;
  T sums[kTileColumns] = {};
  int64_t row = tile.row_begin;
  for (; row + 4 <= tile.row_end; row += 4) {
    const T* x = a.x + row * a.columns + tile.column_begin;
    const int64_t stride = a.columns;
    for (int64_t j = 0; j < columns; ++j) {
      sums[j] += (x[j] + x[stride + j]) + (x[2 * stride + j] + x[3 * stride + j]);
    }
  }
  for (; row < tile.row_end; ++row) {
    const T* x = a.x + row * a.columns + tile.column_begin;
    for (int64_t j = 0; j < columns; ++j) sums[j] += x[j];
  }
  for (int64_t j = 0; j < columns; ++j) totals[j] += static_cast<double>(sums[j]);
}

FLYBALL_SIMD void run_tile(const ReduceRows<float>& a, const RowTile& tile, double* totals) {
  add_tile(a, tile, totals);
}
void run_tile(const ReduceRows<double>& a, const RowTile& tile, double* totals) {
  add_tile(a, tile, totals);
}

}  // namespace

template <class T>
void reduce_sum(const ReduceSum<T>& a) {
  const double sum =
      sum_pieces(a.x, a.count, [](const T* x, int64_t count) { return sum_of(x, count); });
  const double before = a.accumulate ? static_cast<double>(a.y[0]) : 0;
  a.y[0] = static_cast<T>(before + a.alpha * sum);
}

template <class T>
void reduce_rows(const ReduceRows<T>& a) {
  sum_row_groups(a.rows, a.columns, a.y, a.accumulate,
                 [&](const RowTile& tile, double* totals) { run_tile(a, tile, totals); });
}

template <class T>
void sum_of_squares(const SumOfSquares<T>& a) {
  const double sum = sum_pieces(
      a.x, a.count, [](const T* x, int64_t count) { return sum_of_finite_squares(x, count); });
  *a.y = a.accumulate ? *a.y + sum : sum;
}

template void reduce_sum(const ReduceSum<float>&);
template void reduce_sum(const ReduceSum<double>&);
template void reduce_rows(const ReduceRows<float>&);
template void reduce_rows(const ReduceRows<double>&);
template void sum_of_squares(const SumOfSquares<float>&);
template void sum_of_squares(const SumOfSquares<double>&);

}  // namespace flyball::cpu

#include "kernels/copy.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/simd.h"

namespace flyball::cpu {
namespace {

constexpr int64_t kTile = 32;  // rows and columns of a transposed tile: 4 KiB of f32

template <class From, class To>
FLYBALL_INLINE void cast_piece(const From* from, To* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(from[i]);
}

FLYBALL_SIMD void run_cast(const float* from, double* to, int64_t count) {
  cast_piece(from, to, count);
}
FLYBALL_SIMD void run_cast(const double* from, float* to, int64_t count) {
  cast_piece(from, to, count);
}
FLYBALL_SIMD void run_cast(const uint8_t* from, float* to, int64_t count) {
  cast_piece(from, to, count);
}
FLYBALL_SIMD void run_cast(const int32_t* from, float* to, int64_t count) {
  cast_piece(from, to, count);
}

// Rows [row_begin, row_end) of x, tile by tile, so that both sides stay in the cache.
template <class T>
void transpose_rows(const Transpose<T>& a, int64_t row_begin, int64_t row_end) {
  for (int64_t column_begin = 0; column_begin < a.columns; column_begin += kTile) {
    const int64_t column_end = std::min(column_begin + kTile, a.columns);
    for (int64_t column = column_begin; column < column_end; ++column) {
      for (int64_t row = row_begin; row < row_end; ++row) {
        a.y[column * a.rows + row] = a.x[row * a.columns + column];
      }
    }
  }
}

}  // namespace

void copy(const Copy& a) {
  const auto* from = static_cast<const unsigned char*>(a.from);
  auto* to = static_cast<unsigned char*>(a.to);
  for_pieces(a.bytes, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

template <class From, class To>
void cast(const Cast<From, To>& a) {
  for_pieces(a.count, [&](int64_t begin, int64_t end) {
    run_cast(a.from + begin, a.to + begin, end - begin);
  });
}

template <class T>
void transpose(const Transpose<T>& a) {
  const int64_t row_tiles = (a.rows + kTile - 1) / kTile;
  const int64_t tiles_per_piece =
      std::max<int64_t>(1, kPieceElements / (kTile * std::max<int64_t>(a.columns, 1)));
  parallel_for((row_tiles + tiles_per_piece - 1) / tiles_per_piece, [&](int64_t piece) {
    const int64_t end = std::min((piece + 1) * tiles_per_piece, row_tiles);
    for (int64_t tile = piece * tiles_per_piece; tile < end; ++tile) {
      transpose_rows(a, tile * kTile, std::min((tile + 1) * kTile, a.rows));
    }
  });
}

template void cast(const Cast<float, double>&);
template void cast(const Cast<double, float>&);
template void cast(const Cast<uint8_t, float>&);
template void cast(const Cast<int32_t, float>&);
template void transpose(const Transpose<float>&);
template void transpose(const Transpose<double>&);

}  // namespace flyball::cpu

#include "kernels/elementwise.h"

#include <algorithm>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/row_groups.h"
#include "kernels/cpu/simd.h"

// Loops marked ivdep may run in place: element i is read and written, no other.
namespace flyball::cpu {
namespace {

template <class T>
FLYBALL_INLINE void scale_piece(const Scale<T>& a, int64_t begin, int64_t end) {
  const T alpha = a.alpha_pointer != nullptr ? *a.alpha_pointer : a.alpha;
  if (a.accumulate) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) a.y[i] += alpha * a.x[i];
  } else {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) a.y[i] = alpha * a.x[i];
  }
}

template <class T>
FLYBALL_INLINE void add_piece(const Add<T>& a, int64_t begin, int64_t end) {
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) a.y[i] = a.a[i] + a.b[i];
}

template <class T>
FLYBALL_INLINE void multiply_piece(const Multiply<T>& a, int64_t begin, int64_t end) {
  if (a.accumulate) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) a.y[i] += a.a[i] * a.b[i];
  } else {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) a.y[i] = a.a[i] * a.b[i];
  }
}

template <class T>
FLYBALL_INLINE void relu_forward_piece(const ReluForward<T>& a, int64_t begin, int64_t end) {
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) a.y[i] = a.x[i] < 0 ? T{0} : a.x[i];
}

template <class T>
FLYBALL_INLINE T masked(T y, T dy) {
  return y > 0 ? dy : T{0};
}

template <class T>
FLYBALL_INLINE void relu_backward_piece(const ReluBackward<T>& a, int64_t begin, int64_t end) {
  if (a.accumulate) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) a.dx[i] += masked(a.y[i], a.dy[i]);
  } else {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) a.dx[i] = masked(a.y[i], a.dy[i]);
  }
}

// Masks a tile and adds its column sums up: T over kTileRows rows, f64 over the tiles of a group.
template <class T>
FLYBALL_INLINE void bias_relu_tile(const BiasReluBackward<T>& a, const RowTile& tile,
                                   double* totals) {
  const int64_t columns = tile.column_end - tile.column_begin;
  T sums[kTileColumns] = {};
  int64_t row = tile.row_begin;
  for (; row + 4 <= tile.row_end; row += 4) {
    const int64_t at = row * a.columns + tile.column_begin;
    const int64_t stride = a.columns;
    const T* y = a.y + at;
    const T* dy = a.dy + at;
    T* dz = a.dz + at;
#pragma GCC ivdep
    for (int64_t j = 0; j < columns; ++j) {
      const T z0 = masked(y[j], dy[j]);
      const T z1 = masked(y[stride + j], dy[stride + j]);
      const T z2 = masked(y[2 * stride + j], dy[2 * stride + j]);
      const T z3 = masked(y[3 * stride + j], dy[3 * stride + j]);
      dz[j] = z0;
      dz[stride + j] = z1;
      dz[2 * stride + j] = z2;
      dz[3 * stride + j] = z3;
      sums[j] += (z0 + z1) + (z2 + z3);
    }
  }
  for (; row < tile.row_end; ++row) {
    const int64_t at = row * a.columns + tile.column_begin;
#pragma GCC ivdep
    for (int64_t j = 0; j < columns; ++j) {
      const T z = masked(a.y[at + j], a.dy[at + j]);
      a.dz[at + j] = z;
      sums[j] += z;
    }
  }
  for (int64_t j = 0; j < columns; ++j) totals[j] += static_cast<double>(sums[j]);
}

FLYBALL_SIMD void run_piece(const Scale<float>& a, int64_t begin, int64_t end) {
  scale_piece(a, begin, end);
}
FLYBALL_SIMD void run_piece(const Add<float>& a, int64_t begin, int64_t end) {
  add_piece(a, begin, end);
}
FLYBALL_SIMD void run_piece(const Multiply<float>& a, int64_t begin, int64_t end) {
  multiply_piece(a, begin, end);
}
FLYBALL_SIMD void run_piece(const ReluForward<float>& a, int64_t begin, int64_t end) {
  relu_forward_piece(a, begin, end);
}
FLYBALL_SIMD void run_piece(const ReluBackward<float>& a, int64_t begin, int64_t end) {
  relu_backward_piece(a, begin, end);
}
FLYBALL_SIMD void run_tile(const BiasReluBackward<float>& a, const RowTile& tile, double* totals) {
  bias_relu_tile(a, tile, totals);
}

void run_piece(const Scale<double>& a, int64_t begin, int64_t end) { scale_piece(a, begin, end); }
void run_piece(const Add<double>& a, int64_t begin, int64_t end) { add_piece(a, begin, end); }
void run_piece(const Multiply<double>& a, int64_t begin, int64_t end) {
  multiply_piece(a, begin, end);
}
void run_piece(const ReluForward<double>& a, int64_t begin, int64_t end) {
  relu_forward_piece(a, begin, end);
}
void run_piece(const ReluBackward<double>& a, int64_t begin, int64_t end) {
  relu_backward_piece(a, begin, end);
}
void run_tile(const BiasReluBackward<double>& a, const RowTile& tile, double* totals) {
  bias_relu_tile(a, tile, totals);
}

template <class Arguments>
void run_pieces(const Arguments& a) {
  for_pieces(a.count, [&](int64_t begin, int64_t end) { run_piece(a, begin, end); });
}

}  // namespace

template <class T>
void fill(const Fill<T>& a) {
  const T value = a.factor != nullptr ? static_cast<T>(a.value * *a.factor) : a.value;
  for_pieces(a.count, [&](int64_t begin, int64_t end) {
    if (!a.accumulate) {
      std::fill(a.x + begin, a.x + end, value);
    } else {
      for (int64_t i = begin; i < end; ++i) a.x[i] = static_cast<T>(a.x[i] + value);
    }
  });
}

template <class T>
void scale(const Scale<T>& a) {
  run_pieces(a);
}

template <class T>
void add(const Add<T>& a) {
  run_pieces(a);
}

template <class T>
void multiply(const Multiply<T>& a) {
  run_pieces(a);
}

template <class T>
void relu_forward(const ReluForward<T>& a) {
  run_pieces(a);
}

template <class T>
void relu_backward(const ReluBackward<T>& a) {
  run_pieces(a);
}

template <class T>
void bias_relu_backward(const BiasReluBackward<T>& a) {
  if (a.dbias == nullptr) {
    relu_backward(ReluBackward<T>{.y = a.y, .dy = a.dy, .dx = a.dz, .count = a.rows * a.columns});
    return;
  }
  sum_row_groups(a.rows, a.columns, a.dbias, a.accumulate_dbias,
                 [&](const RowTile& tile, double* totals) { run_tile(a, tile, totals); });
}

template void fill(const Fill<uint8_t>&);
template void fill(const Fill<float>&);
template void fill(const Fill<double>&);
template void scale(const Scale<float>&);
template void scale(const Scale<double>&);
template void add(const Add<float>&);
template void add(const Add<double>&);
template void multiply(const Multiply<float>&);
template void multiply(const Multiply<double>&);
template void relu_forward(const ReluForward<float>&);
template void relu_forward(const ReluForward<double>&);
template void relu_backward(const ReluBackward<float>&);
template void relu_backward(const ReluBackward<double>&);
template void bias_relu_backward(const BiasReluBackward<float>&);
template void bias_relu_backward(const BiasReluBackward<double>&);

}  // namespace flyball::cpu

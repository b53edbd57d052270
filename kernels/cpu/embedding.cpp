#include "kernels/embedding.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/scratch.h"

namespace flyball::cpu {
namespace {

// Calls body(begin, end) for pieces of `count` rows of d elements.
template <class Body>
void for_row_pieces(int64_t count, int64_t d, Body body) {
  const int64_t rows = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(d, 1));
  parallel_for((count + rows - 1) / rows,
               [&](int64_t i) { body(i * rows, std::min((i + 1) * rows, count)); });
}

}  // namespace

template <class T>
void embedding_forward(const EmbeddingForward<T>& a) {
  for_row_pieces(a.count, a.d, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = a.tokens[i];
      if (token < 0 || token >= a.rows || token == a.padding) {
        std::fill_n(a.y + i * a.d, a.d, T(0));
      } else {
        std::copy_n(a.table + token * a.d, a.d, a.y + i * a.d);
      }
    }
  });
}

template <class T>
void embedding_backward(const EmbeddingBackward<T>& a) {
  const auto trained = [&](int64_t token) {
    return token >= a.frozen && token >= 0 && token < a.rows && token != a.padding;
  };
  // segment[row] .. segment[row + 1]: where row's positions are once sorted.
  auto* segment = scratch<struct EmbeddingSegments, int64_t>(a.rows + 2);
  auto* positions = scratch<struct EmbeddingPositions, int64_t>(a.count);
  std::fill_n(segment, a.rows + 2, int64_t{0});
  for (int64_t i = 0; i < a.count; ++i) {
    if (trained(a.tokens[i])) ++segment[a.tokens[i] + 2];
  }
  for (int64_t row = 0; row < a.rows; ++row) segment[row + 2] += segment[row + 1];
  for (int64_t i = 0; i < a.count; ++i) {
    if (trained(a.tokens[i])) positions[segment[a.tokens[i] + 1]++] = i;
  }
  for_row_pieces(a.rows, a.d, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      T* to = a.dtable + row * a.d;
      int64_t at = segment[row];
      if (!a.accumulate && at < segment[row + 1]) {
        std::copy_n(a.dy + positions[at++] * a.d, a.d, to);
      } else if (!a.accumulate) {
        std::fill_n(to, a.d, T(0));
      }
      for (; at < segment[row + 1]; ++at) add_to(to, a.dy + positions[at] * a.d, a.d);
    }
  });
}

template void embedding_forward(const EmbeddingForward<float>&);
template void embedding_forward(const EmbeddingForward<double>&);
template void embedding_backward(const EmbeddingBackward<float>&);
template void embedding_backward(const EmbeddingBackward<double>&);

}  // namespace flyball::cpu

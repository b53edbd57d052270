#pragma once

#include <algorithm>

#include "kernels/embedding.h"

namespace flyball::reference {

inline void embedding_forward(const EmbeddingForward<double>& f) {
  for (int64_t i = 0; i < f.count; ++i)
    for (int64_t j = 0; j < f.d; ++j) {
      const int64_t token = f.tokens[i];
      const bool none = token == f.padding || token < 0 || token >= f.rows;
      f.y[i * f.d + j] = none ? 0 : f.table[token * f.d + j];
    }
}

inline void embedding_backward(const EmbeddingBackward<double>& b) {
  if (!b.accumulate) std::fill_n(b.dtable, b.rows * b.d, 0.0);
  for (int64_t i = 0; i < b.count; ++i) {
    const int64_t token = b.tokens[i];
    if (token == b.padding || token < b.frozen || token < 0 || token >= b.rows) continue;
    for (int64_t j = 0; j < b.d; ++j) b.dtable[token * b.d + j] += b.dy[i * b.d + j];
  }
}

}  // namespace flyball::reference

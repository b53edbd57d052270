#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/gemm.h"

namespace flyball::reference {

// Straight from the formula in kernels/gemm.h.
inline void gemm(const Gemm<double>& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < g.k; ++l) {
        const double a = g.transpose_a ? g.a[l * g.m + i] : g.a[i * g.k + l];
        const double b = g.transpose_b ? g.b[j * g.k + l] : g.b[l * g.n + j];
        sum += a * b;
      }
      double& c = g.c[i * g.n + j];
      if (g.accumulate) {
        c += sum;
      } else {
        if (g.bias != nullptr) sum += g.bias[j];
        c = g.relu ? std::max(sum, 0.0) : sum;
      }
    }
  }
}

}  // namespace flyball::reference

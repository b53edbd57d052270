#pragma once

#include <type_traits>

#include "kernels/copy.h"

// The assignments of kernels/copy.h, one element at a time.
namespace flyball::reference {

inline void copy(const Copy& a) {
  for (int64_t i = 0; i < a.bytes; ++i) {
    static_cast<unsigned char*>(a.to)[i] = static_cast<const unsigned char*>(a.from)[i];
  }
}

template <class From, class To>
void cast(const Cast<From, To>& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    if constexpr (std::is_same_v<To, bf16>) {
      a.to[i] = to_bf16(a.from[i]);
    } else if constexpr (std::is_same_v<From, bf16>) {
      a.to[i] = to_float(a.from[i]);
    } else {
      a.to[i] = static_cast<To>(a.from[i]);
    }
  }
}

inline void transpose(const Transpose<double>& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    for (int64_t column = 0; column < a.columns; ++column) {
      a.y[column * a.rows + row] = a.x[row * a.columns + column];
    }
  }
}

}  // namespace flyball::reference

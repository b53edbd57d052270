#pragma once

#include "framework/autograd.h"

namespace flyball {

// The checks that operations make before they allocate.

inline void check_rank(const char* what, const Shape& shape, int rank) {
  if (shape.rank() != rank)
    throw Error(str(what, " has shape ", shape, ", expected ", rank, " axes"));
}

inline void check_shape(const char* what, const Shape& shape, const Shape& expected,
                        const char* why) {
  if (!(shape == expected)) {
    throw Error(str(what, " has shape ", shape, ", expected ", expected, " (", why, ")"));
  }
}

inline void check_dtype(const char* what, DType dtype, DType expected) {
  if (dtype != expected)
    throw Error(str(what, " is ", name_of(dtype), ", expected ", name_of(expected)));
}

inline void check_real(const char* what, DType dtype) {
  if (dtype == DType::f32 || dtype == DType::f64) return;
  throw Error(str(what, " is ", name_of(dtype), ", expected f32 or f64"));
}

// Optional operands: an undefined Variable stands for "none".
template <class T>
const T* data_or_null(const Variable& x) {
  return x.defined() ? x.value().data<T>() : nullptr;
}

}  // namespace flyball

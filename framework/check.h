#pragma once

#include "framework/ops.h"

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

// f32, f64 or, on CUDA, bf16.
inline void check_float(const char* what, const Variable& x) {
  if (x.dtype() == DType::f32 || x.dtype() == DType::f64) return;
  const bool on_cpu = x.value().device().kind == Device::Kind::cpu;
  if (x.dtype() == DType::bf16 && !on_cpu) return;
  throw Error(str(what, " is ", name_of(x.dtype()), on_cpu ? " on the CPU" : "",
                  on_cpu ? ", expected f32 or f64" : ", expected f32, f64 or bf16"));
}

// What conv2d, linear and matmul take in each precision.
inline void check_multiplied(const char* what, DType dtype, Precision precision) {
  const bool f32 = dtype == DType::f32;
  switch (precision) {
    case Precision::fp32:
      if (f32 || dtype == DType::f64) return;
      throw Error(str(what, " is ", name_of(dtype), ", expected f32 or f64"));
    case Precision::tf32:
      if (f32) return;
      throw Error(str(what, " is ", name_of(dtype), ", expected f32 (precision tf32)"));
    case Precision::bf16:
      if (f32 || dtype == DType::bf16) return;
      throw Error(str(what, " is ", name_of(dtype), ", expected f32 or bf16 (precision bf16)"));
  }
}

// The tensors that conv2d, linear and matmul multiply: f32 ones are rounded to bf16 where that is
// the precision.
inline Tensor multiplied(const Context& context, const Tensor& x) {
  const bool rounds = context.precision == Precision::bf16 && x.dtype() == DType::f32;
  return rounds ? x.cast(context.stream, DType::bf16) : x;
}

// Weights and biases: f32 beside bf16, else of x's dtype.
inline void check_parameter(const char* what, DType dtype, DType x) {
  check_dtype(what, dtype, x == DType::bf16 ? DType::f32 : x);
}

// Optional operands: an undefined Variable stands for "none".
template <class T>
const T* data_or_null(const Variable& x) {
  return x.defined() ? x.value().data<T>() : nullptr;
}

}  // namespace flyball

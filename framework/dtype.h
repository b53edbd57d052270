#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/error.h"

namespace flyball {

// bf16 is for values on CUDA devices: see kernels/bf16.h.
enum class DType : uint8_t { f32, f64, i32, u8, bf16 };

constexpr int64_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::f64:
      return 8;
    case DType::i32:
      return 4;
    case DType::u8:
      return 1;
    case DType::bf16:
      return 2;
  }
  return 0;
}

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
    case DType::bf16:
      return "bf16";
  }
  return "?";
}

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::u8;
  if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> ||
                std::is_same_v<T, int32_t> || std::is_same_v<T, uint8_t> ||
                std::is_same_v<T, bf16>);
}

// Calls function(T{}) with T = float or double.
template <class Function>
void dispatch_real(DType dtype, const char* operation, Function&& function) {
  if (dtype == DType::f32) return function(float{});
  if (dtype == DType::f64) return function(double{});
  throw Error(str(operation, ": dtype is ", name_of(dtype), ", expected f32 or f64"));
}

// Calls function(T{}) with T = float, double or bf16.
template <class Function>
void dispatch_float(DType dtype, const char* operation, Function&& function) {
  if (dtype == DType::bf16) return function(bf16{});
  return dispatch_real(dtype, operation, function);
}

}  // namespace flyball

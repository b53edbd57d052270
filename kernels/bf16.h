#pragma once

#include <cstdint>

#include "schedulers/rules/host_device.h"

namespace flyball {

// The upper half of an f32: 8 significant bits, the exponent range of f32. Storage only: kernels
// compute in f32.
struct bf16 {
  uint16_t bits = 0;
};

FLYBALL_HOST_DEVICE inline float to_float(bf16 x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16);
}

// Rounds to nearest, ties to even; beyond the largest bf16 to infinity. Every NaN becomes 0x7FFF,
// as on the device.
FLYBALL_HOST_DEVICE inline bf16 to_bf16(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return {0x7FFF};
  return {static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16)};
}

// What sums of T's are formed in, and what biases and the gradients of weights are kept in.
template <class T>
struct AccumulatorOf {
  using Type = T;
};
template <>
struct AccumulatorOf<bf16> {
  using Type = float;
};
template <class T>
using Accumulator = typename AccumulatorOf<T>::Type;

}  // namespace flyball

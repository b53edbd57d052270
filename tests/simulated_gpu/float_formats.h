#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// 16-bit floats as their bits, and rounding to them once.
namespace flyball::simulated_gpu {

inline float half_to_float(uint16_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}
inline float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline uint16_t float_to_half(float v) {  // to nearest even
  if (v != v) return 0x7FFF;
  return std::bit_cast<uint16_t>(static_cast<_Float16>(v));
}
inline uint16_t float_to_bfloat(float v) {
  if (v != v) return 0x7FFF;
  const uint32_t u = std::bit_cast<uint32_t>(v);
  return static_cast<uint16_t>((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

// Rounding to odd: a second rounding to at least two bits fewer gives what one rounding would have
// given.
inline float to_odd_float(double v) {
  const float near = static_cast<float>(v);
  if (static_cast<double>(near) == v || v != v) return near;
  if (std::isinf(near)) return std::copysign(std::bit_cast<float>(0x7F7FFFFFu), near);
  uint32_t bits = std::bit_cast<uint32_t>(near);
  if (std::fabs(static_cast<double>(near)) > std::fabs(v)) --bits;
  return std::bit_cast<float>(bits | 1);
}
inline double to_odd_sum(double a, double b) {
  const double s = a + b, shift = s - a, error = (a - (s - shift)) + (b - shift);
  if (error == 0 || error != error || std::isinf(s)) return s;
  const uint64_t bits = std::bit_cast<uint64_t>(s);
  if (bits & 1) return s;
  return std::bit_cast<double>((error > 0) == (s > 0) ? bits + 1 : bits - 1);
}

struct Half {
  static float load(uint16_t bits) { return half_to_float(bits); }
  static uint16_t store(float v) { return float_to_half(v); }
};
struct Bfloat {
  static float load(uint16_t bits) { return bfloat_to_float(bits); }
  static uint16_t store(float v) { return float_to_bfloat(v); }
};

inline float flush(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }
template <class T>
T saturate01(T v) {
  return v > 0 ? (v < 1 ? v : T(1)) : T(0);  // NaN gives 0
}

// IEEE 754-2008 minNum / maxNum with -0 < +0, as PTX; propagate: NaN if either is NaN.
template <class T, bool maximum, bool propagate>
T min_max(T a, T b) {
  T r = maximum ? (a > b ? a : b) : (a < b ? a : b);
  r = a == b ? (std::signbit(a) == maximum ? b : a) : r;
  if (propagate) return a != a ? a : b != b ? b : r;
  return a != a ? b : b != b ? a : r;
}

}  // namespace flyball::simulated_gpu

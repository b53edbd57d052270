#pragma once

#include <math.h>

#include <cstdint>

#include "schedulers/rules/host_device.h"

namespace flyball {

// The arithmetic of the rules: only + - * / and sqrt, which IEEE 754 rounds correctly, so that
// every device gives the same bits where nothing is contracted to a fused multiply-add.

// Correctly rounded on both sides.
FLYBALL_HOST_DEVICE inline double square_root(double x) { return sqrt(x); }
FLYBALL_HOST_DEVICE inline double magnitude(double x) { return x < 0 ? -x : x; }
FLYBALL_HOST_DEVICE inline double larger(double a, double b) { return a > b ? a : b; }
FLYBALL_HOST_DEVICE inline double smaller(double a, double b) { return a < b ? a : b; }
FLYBALL_HOST_DEVICE inline double clipped(double x, double low, double high) {
  return smaller(larger(x, low), high);
}

// False for NaN and both infinities, without a library call.
FLYBALL_HOST_DEVICE inline bool is_finite(double x) { return x - x == 0; }

inline constexpr double kLargestLoss = 1e30;  // beyond it counts as not finite: squares stay finite

// False for NaN, infinities and absurd magnitudes.
FLYBALL_HOST_DEVICE inline bool is_usable(double x) { return magnitude(x) < kLargestLoss; }

// base^n by repeated squaring, n >= 0. Each product rounds once: within about n roundings.
FLYBALL_HOST_DEVICE inline double integer_power(double base, int64_t n) {
  double power = 1;
  for (; n > 0; n /= 2) {
    if (n % 2 != 0) power *= base;
    base *= base;
  }
  return power;
}

// 2^x for x in [-1e6, 1000], relative error below 1e-15: x = n + f, |f| <= 1/2, 2^n exactly and
// 2^f = e^(f ln 2) as its Taylor polynomial of degree 13 (the rest is below 5e-18).
FLYBALL_HOST_DEVICE inline double power_of_two(double x) {
  constexpr double kLogTwo = 0.693147180559945309417;
  constexpr int kDegree = 13;
  const auto n = static_cast<int64_t>(x < 0 ? x - 0.5 : x + 0.5);
  const double y = (x - static_cast<double>(n)) * kLogTwo;
  double sum = 1;  // 1 + y (1 + y/2 (1 + y/3 (...)))
  for (int k = kDegree; k > 0; --k) sum = 1 + y * sum / k;
  return sum * (n < 0 ? integer_power(0.5, -n) : integer_power(2, n));
}

// cos(pi x) for x in [0, 1], absolute error below 3e-16, exact at 0, 1/2 and 1. Taylor polynomials
// of cosine to degree 16 and of sine to degree 17 around the nearest multiple of pi/2 (the rest is
// below 3e-18).
FLYBALL_HOST_DEVICE inline double cosine_of_pi(double x) {
  constexpr double kPi = 3.14159265358979323846;
  const bool near_half = x > 0.25 && x < 0.75;
  const double distance = near_half ? 0.5 - x : x < 0.5 ? x : 1 - x;  // the subtractions are exact
  const double y = kPi * distance;
  const double square = y * y;
  double sum = 1;  // the factors k (k - 1): 16 * 15, ..., 2 * 1, of sine 17 * 16, ..., 3 * 2
  for (int k = near_half ? 17 : 16; k > 1; k -= 2) sum = 1 - square * sum / (k * (k - 1));
  return near_half ? y * sum : x < 0.5 ? sum : -sum;
}

}  // namespace flyball

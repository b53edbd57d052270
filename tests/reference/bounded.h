#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

// Arithmetic that a reference can be run in: double for its results, Bounded for how far rounding
// may move them.
namespace flyball::reference {

// A number and a bound of its error in units of the unit roundoff, to first order: running error
// analysis (Higham 2002, section 3.3).
struct Bounded {
  double value = 0, bound = 0;
};

inline double value_of(double x) { return x; }
inline double value_of(const Bounded& x) { return x.value; }

inline Bounded operator+(const Bounded& a, const Bounded& b) {
  const double value = a.value + b.value;
  return {value, a.bound + b.bound + std::abs(value)};
}
inline Bounded operator-(const Bounded& a, const Bounded& b) {
  return a + Bounded{-b.value, b.bound};
}
inline Bounded operator*(const Bounded& a, const Bounded& b) {
  const double value = a.value * b.value;
  return {value, std::abs(a.value) * b.bound + std::abs(b.value) * a.bound + std::abs(value)};
}

// The errors of functions that a kernel may approximate, in units of the unit roundoff: 2^-22 in
// f32.
inline constexpr double kFunctionError = 4;

inline double sigma_of(double x) { return 1 / (1 + std::exp(-x)); }
inline double tanh_of(double x) { return std::tanh(x); }
inline Bounded sigma_of(const Bounded& x) {
  const double y = sigma_of(x.value);
  return {y, x.bound * y * (1 - y) + kFunctionError};
}
inline Bounded tanh_of(const Bounded& x) {
  const double y = std::tanh(x.value);
  return {y, x.bound * (1 - y * y) + kFunctionError};
}

// term(0) + ... + term(count - 1), in any order.
template <class Number, class Term>
Number sum_terms(int64_t count, Term term) {
  if constexpr (requires(Number x) { x.bound; }) {
    Number sum;
    double magnitude = 0;
    for (int64_t i = 0; i < count; ++i) {
      const Number x = term(i);
      sum.value += x.value;
      sum.bound += x.bound;
      magnitude += std::abs(x.value);
    }
    const auto n = static_cast<double>(count);
    sum.bound += std::min(n, 8 * std::sqrt(n)) * magnitude;
    return sum;
  } else {
    Number sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += term(i);
    return sum;
  }
}

}  // namespace flyball::reference

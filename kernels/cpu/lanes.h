#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/simd.h"

namespace flyball::cpu {

// Sums in an order that does not depend on the instruction set: element i goes to lane i % 16, and
// the lanes are added up at the end.
inline constexpr int64_t kLanes = 16;

template <class T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(kLanes * sizeof(T))));
};

// lanes = x[0 .. 15]
template <class T>
FLYBALL_INLINE void load_lanes(const T* x, typename Lanes<T>::Vector& lanes) {
  std::memcpy(&lanes, x, sizeof lanes);
}

template <class T>
FLYBALL_INLINE void add_to_f64(const typename Lanes<T>::Vector& lanes,
                               Lanes<double>::Vector& total) {
  total += __builtin_convertvector(lanes, Lanes<double>::Vector);
}

// Halves are added until one value is left.
FLYBALL_INLINE double sum_of_lanes(const Lanes<double>::Vector& lanes) {
  double sums[kLanes];
  std::memcpy(sums, &lanes, sizeof lanes);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

// Runs add(values, lanes) on x in f64, 16 elements at a time and the missing ones as 0, and returns
// the sum of the lanes.
template <class T, class AddTo>
FLYBALL_INLINE double sum_in_lanes(const T* x, int64_t count, AddTo add) {
  Lanes<double>::Vector lanes = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    typename Lanes<T>::Vector values;
    load_lanes(x + i, values);
    add(__builtin_convertvector(values, Lanes<double>::Vector), lanes);
  }
  if (i < count) {
    Lanes<double>::Vector values = {};
    for (int64_t lane = 0; i + lane < count; ++lane) {
      values[lane] = static_cast<double>(x[i + lane]);
    }
    add(values, lanes);
  }
  return sum_of_lanes(lanes);
}

struct AddValues {
  FLYBALL_INLINE void operator()(const Lanes<double>::Vector& x,
                                 Lanes<double>::Vector& lanes) const {
    lanes += x;
  }
};

}  // namespace flyball::cpu

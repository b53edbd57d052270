#pragma once

#include <cstdint>

#include "kernels/cpu/simd.h"

// Vectors of floats for code that is compiled once for each instruction set. That code consists of
// templates on a type of its own file, here Isa, so that no two files make the same function and
// the linker cannot give one instruction set the other's; it calls no function of the standard
// library's headers, for the same reason.
namespace flyball::cpu {

// Isa::kWidth floats.
template <class Isa>
struct Vectors {
  static constexpr int kWidth = Isa::kWidth;
  // Typedefs, since g++ ignores the attributes of a template's alias.
  // NOLINTNEXTLINE(modernize-use-using)
  typedef float Vector __attribute__((vector_size(kWidth * sizeof(float))));
  // NOLINTNEXTLINE(modernize-use-using)
  typedef float Unaligned
      __attribute__((vector_size(kWidth * sizeof(float)), aligned(sizeof(float)), may_alias));

  FLYBALL_INLINE static Vector load(const float* from) {
    return *reinterpret_cast<const Unaligned*>(from);
  }
  FLYBALL_INLINE static void store(float* to, Vector x) { *reinterpret_cast<Unaligned*>(to) = x; }

  // The first `count`, zeros behind them.
  FLYBALL_INLINE static Vector load_part(const float* from, int64_t count) {
    float x[kWidth] = {};
    for (int64_t i = 0; i < count; ++i) x[i] = from[i];
    return load(x);
  }
  FLYBALL_INLINE static void store_part(float* to, Vector x, int64_t count) {
    float all[kWidth];
    store(all, x);
    for (int64_t i = 0; i < count; ++i) to[i] = all[i];
  }
};

// Calls run(i, full) for i = 0, kWidth, 2 kWidth, ... below count; `full` is a type whose value
// says whether all of a vector is there.
template <bool value>
struct Constant {
  static constexpr bool kValue = value;
};
template <class Isa, class Run>
FLYBALL_INLINE void for_each_vector(int64_t count, Run run) {
  int64_t i = 0;
  for (; i + Isa::kWidth <= count; i += Isa::kWidth) run(i, Constant<true>());
  if (i < count) run(i, Constant<false>());
}

}  // namespace flyball::cpu

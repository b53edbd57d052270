#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "tests/simulated_gpu/decoder.h"
#include "tests/simulated_gpu/execution.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

// Loops over the 32 lanes of a warp, written so that the compiler vectorises them: rows are the
// same row or do not overlap.
#define FOR_LANES _Pragma("GCC ivdep") for (int l = 0; l < 32; ++l)

namespace flyball::simulated_gpu {

template <class F>
void for_active(uint32_t mask, F&& f) {
  for (; mask; mask &= mask - 1) f(std::countr_zero(mask));
}

template <auto op, class D>
void nullary_row(Warp& w, const Instruction& in, uint32_t) {
  D* d = w.row<D>(in.d);
  FOR_LANES d[l] = op();
}
template <auto op, class D, class A>
void unary_row(Warp& w, const Instruction& in, uint32_t) {
  D* d = w.row<D>(in.d);
  const A* a = w.row<A>(in.a);
  FOR_LANES d[l] = static_cast<D>(op(a[l]));
}
template <auto op, class D, class A, class B>
void binary_row(Warp& w, const Instruction& in, uint32_t) {
  D* d = w.row<D>(in.d);
  const A* a = w.row<A>(in.a);
  const B* b = w.row<B>(in.b);
  FOR_LANES d[l] = static_cast<D>(op(a[l], b[l]));
}
template <auto op, class D, class A, class B, class C>
void ternary_row(Warp& w, const Instruction& in, uint32_t) {
  D* d = w.row<D>(in.d);
  const A* a = w.row<A>(in.a);
  const B* b = w.row<B>(in.b);
  const C* c = w.row<C>(in.c);
  FOR_LANES d[l] = static_cast<D>(op(a[l], b[l], c[l]));
}

template <class D, class A, auto op>
constexpr Entry unary() {
  return {unary_row<op, D, A>, sizeof(D), sizeof(A), 0, 0};
}
template <class D, class A, class B, auto op>
constexpr Entry binary() {
  return {binary_row<op, D, A, B>, sizeof(D), sizeof(A), sizeof(B), 0};
}
template <class D, class A, class B, class C, auto op>
constexpr Entry ternary() {
  return {ternary_row<op, D, A, B, C>, sizeof(D), sizeof(A), sizeof(B), sizeof(C)};
}
template <class T, auto op>
constexpr Entry binary() {
  return binary<T, T, T, op>();
}
template <class T, auto op>
constexpr Entry ternary() {
  return ternary<T, T, T, T, op>();
}

// A lane of a row whose width is known only at run time, zero-extended.
inline uint64_t read_lane(const Warp& w, uint32_t row, int width, int l) {
  return width == 2   ? w.row<uint16_t>(row)[l]
         : width == 4 ? w.row<uint32_t>(row)[l]
                      : w.row<uint64_t>(row)[l];
}
inline void write_lane(Warp& w, uint32_t row, int width, int l, uint64_t v) {
  if (width == 2)
    w.row<uint16_t>(row)[l] = static_cast<uint16_t>(v);
  else if (width == 4)
    w.row<uint32_t>(row)[l] = static_cast<uint32_t>(v);
  else
    w.row<uint64_t>(row)[l] = v;
}

// Bit l is set where row[l] is all ones (rows hold 0 or ~0).
inline uint32_t mask_of_row(const uint32_t* row) {
  uint32_t mask = 0;
#if defined(__AVX2__)
  for (int i = 0; i < 4; ++i)
    mask |= static_cast<uint32_t>(
                _mm256_movemask_ps(_mm256_loadu_ps(reinterpret_cast<const float*>(row + 8 * i))))
            << 8 * i;
#elif defined(__SSE2__)
  for (int i = 0; i < 8; ++i)
    mask |= static_cast<uint32_t>(
                _mm_movemask_ps(_mm_loadu_ps(reinterpret_cast<const float*>(row + 4 * i))))
            << 4 * i;
#else
  for (int l = 0; l < 32; ++l) mask |= (row[l] & 1u) << l;
#endif
  return mask;
}

// Puts saved lanes back where the mask is not set.
template <class T>
void restore_lanes(T* row, const T* saved, uint32_t mask) {
  FOR_LANES row[l] = (mask >> l & 1) ? row[l] : saved[l];
}

template <class To, class From>
constexpr To bits_as(From from) {
  return std::bit_cast<To>(from);
}

}  // namespace flyball::simulated_gpu

#pragma once

#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __SSE2__
#include <xmmintrin.h>
#endif

namespace flyball {

// What is freed stays with the program, so that a step in its stride asks the system for nothing:
// oneDNN's matrix products allocate their copies of the operands each time.
inline void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 1 << 20);
#endif
}

// Numbers too small for a full significand (f32: below 1.2e-38) are read and written as 0, by this
// thread and those it starts from now on. x86 processors compute with them a hundred times slower,
// and the gradients behind an LSTM's saturated gates are full of them.
inline void flush_subnormals() {
#ifdef __SSE2__
  constexpr unsigned kFlushToZero = 0x8000, kSubnormalsAreZero = 0x0040;
  _mm_setcsr(_mm_getcsr() | kFlushToZero | kSubnormalsAreZero);
#endif
}

}  // namespace flyball

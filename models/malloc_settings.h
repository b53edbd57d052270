#pragma once

#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
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

}  // namespace flyball

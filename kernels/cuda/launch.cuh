#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <source_location>

#include "kernels/cuda/recent_launches.h"
#include "kernels/error.h"

namespace flyball::cuda {

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The error may also be the fault of a launch before: its text names the last ones.
inline void check(cudaError_t error, const char* what, const std::source_location& where) {
  if (error == cudaSuccess) return;
  throw Error(str(what, ": ", cudaGetErrorString(error), " (launched at ", where.file_name(), ":",
                  where.line(), "; the last launches: ", recent_launches(), ")"));
}

// A grid of blocks with its dynamic shared memory.
struct LaunchShape {
  dim3 grid, block;
  int64_t shared_bytes = 0;
};

// The one way to start a kernel: enqueues it and throws Error, naming kernel and call site, if it
// cannot be started. A fault while it runs surfaces at a later call, whose text has
// recent_launches(). Dynamic shared memory above 48 KB is opted into.
template <class Arguments>
void launch(void (*kernel)(Arguments), const char* name, const LaunchShape& shape,
            cudaStream_t stream, const Arguments& arguments,
            const std::source_location& where = std::source_location::current()) {
  remember_launch(name, where);
  if (shape.shared_bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          name, where);
  }
  kernel<<<shape.grid, shape.block, static_cast<size_t>(shape.shared_bytes), stream>>>(arguments);
  check(cudaGetLastError(), name, where);
}

}  // namespace flyball::cuda

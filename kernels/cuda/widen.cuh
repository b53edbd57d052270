#pragma once

#include <cuda_bf16.h>

#include <type_traits>

#include "kernels/bf16.h"

// From what memory holds to what kernels compute with, and back: f32 for bf16, the element itself
// otherwise.
namespace flyball::cuda {

template <class T>
__device__ Accumulator<T> widened(T x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return to_float(x);
  } else {
    return x;
  }
}

// Rounds as to_bf16() does; by one instruction where the device has it.
template <class T>
__device__ T narrowed(Accumulator<T> x) {
  if constexpr (std::is_same_v<T, bf16>) {
#if __CUDA_ARCH__ >= 800
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#else
    return to_bf16(x);
#endif
  } else {
    return x;
  }
}

}  // namespace flyball::cuda

#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/bf16.h"

// Stand-ins for NVIDIA's libraries on the simulated GPU, whose memory the host can read: the few
// functions that bench/peers calls, naively, as their documentation describes them. They compute at
// once; of a capture nothing stays.
namespace flyball::testing {

inline double element(const void* data, bool is_bf16, int64_t at) {
  return is_bf16 ? static_cast<double>(to_float(static_cast<const bf16*>(data)[at]))
                 : static_cast<double>(static_cast<const float*>(data)[at]);
}

inline void set_element(void* data, bool is_bf16, int64_t at, double value) {
  if (is_bf16) {
    static_cast<bf16*>(data)[at] = to_bf16(static_cast<float>(value));
  } else {
    static_cast<float*>(data)[at] = static_cast<float>(value);
  }
}

inline bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream, &status) == cudaSuccess &&
         status != cudaStreamCaptureStatusNone;
}

}  // namespace flyball::testing

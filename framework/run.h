#pragma once

#include <cstdint>

#include "framework/stream.h"
#include "kernels/error.h"

namespace flyball {

// The only place that branches on the device: enqueues one kernel on the stream.
//   run<cpu::gemm<float>>(stream, Gemm<float>{...});
template <auto cpu_function, class Arguments>
void run(const Stream& stream, const Arguments& arguments) {
  if (stream.device().kind != Device::Kind::cpu) {
    throw Error(str("run: device ", stream.device().str(), ": this build has no CUDA half"));
  }
  cpu_function(arguments);
}

// Copies between host and device memory. copy_to_device is enqueued and has read `from` when it
// returns; copy_to_host waits for the stream, which is counted.
void copy_to_device(const Stream& stream, void* to, const void* from, int64_t bytes);
void copy_to_host(const Stream& stream, void* to, const void* from, int64_t bytes);

}  // namespace flyball

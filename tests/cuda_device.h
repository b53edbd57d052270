#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <string>

#include "framework/device.h"
#include "framework/stream.h"
#include "kernels/error.h"

namespace flyball::testing {

// The stream that CUDA tests run on; null, with a message, where there is no device.
inline const Stream* cuda_stream() {
  static const Stream* stream = [] {
    try {
      return new Stream(parse_device("cuda"));
    } catch (const Error& error) {
      MESSAGE("skipped: no CUDA device: " << std::string(error.what()));
      return static_cast<Stream*>(nullptr);
    }
  }();
  return stream;
}

// How often the simulated runtime saw the host wait; 0 on a real device.
inline unsigned long long runtime_synchronizations() {
  const auto count = reinterpret_cast<unsigned long long (*)()>(
      dlsym(RTLD_DEFAULT, "simulated_gpu_host_synchronizations"));
  return count == nullptr ? 0 : count();
}

}  // namespace flyball::testing

#pragma once

#include "framework/stream.h"

namespace flyball::bench {

// What the device can do at most, measured by the same events as the kernels: multiply-adds on
// registers, in plain f32 and on tensor cores by mma.sync, the instruction that the kernels use (0
// below compute capability 8.0), and a copy within device memory, read + written. On compute
// capability 9.0 wgmma is faster than mma.sync: its ceiling is not measured.
struct DeviceCeilings {
  double f32_gflops = 0, tf32_gflops = 0, bf16_gflops = 0, gbs = 0;
};

DeviceCeilings measure_device_ceilings(const Stream& stream);

}  // namespace flyball::bench

#pragma once

#include "tests/simulated_gpu/runtime/fat_binary.h"

// The device that is simulated: compute capability 8.0 with few multiprocessors.
namespace flyball::simulated_gpu::runtime {

constexpr int kMajor = 8, kMinor = 0;
constexpr int kProcessors = 4;
constexpr int kWarp = 32;
constexpr unsigned kMaxThreadsPerBlock = 1024;
constexpr int kMaxThreadsPerProcessor = 2048;
constexpr int kMaxBlocksPerProcessor = 32;
constexpr int kRegisters = 65536;
constexpr size_t kSharedPerBlock = 48 << 10;
constexpr size_t kSharedPerBlockOptIn = 163 << 10;
constexpr size_t kSharedPerProcessor = 164 << 10;
constexpr size_t kSharedReserved = 1 << 10;  // of every block, by the system
constexpr Dim3 kMaxGrid = {0x7fffffff, 65535, 65535};
constexpr Dim3 kMaxBlock = {1024, 1024, 64};

// Dynamic shared memory that a launch of this kernel may ask for.
size_t dynamic_shared_limit(const Kernel& kernel);

// Blocks that fit a multiprocessor at once, by threads and shared memory. Registers are not known
// in PTX and count as enough.
int resident_blocks(const Kernel& kernel, unsigned threads, size_t dynamic_shared_bytes);

}  // namespace flyball::simulated_gpu::runtime

#pragma once

#include <cstdint>

#include "tests/simulated_gpu/execution.h"

namespace flyball::simulated_gpu {

enum class Access : uint8_t { read, write, atomic };

// Sees every access to shared and global memory and every synchronisation of a launch; exists only
// when asked for.
class Observer {
 public:
  virtual ~Observer() = default;
  // at: host addresses, by lane, already checked. bytes: of one lane.
  virtual void access(Warp& warp, const Instruction& in, uint32_t mask, uint32_t bytes,
                      Access access, const uint64_t* at) = 0;
  virtual void block_starts(Block& block) = 0;
  virtual void warp_synchronises(Warp& warp) = 0;  // bar.warp.sync
  virtual void fence(Warp& warp) = 0;              // membar, fence
  virtual void barrier_arrives(Warp& warp, uint32_t id) = 0;
  virtual void barrier_releases(Block& block, uint32_t id) = 0;  // the warps that wait go on
};

}  // namespace flyball::simulated_gpu

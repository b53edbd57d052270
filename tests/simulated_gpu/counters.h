#pragma once

#include "tests/simulated_gpu/observer.h"
#include "tests/simulated_gpu/page_map.h"

namespace flyball::simulated_gpu {

// Requests, sectors and bank conflicts as the hardware would count them, warp instruction by warp
// instruction.
class Counters {
 public:
  void shared(uint32_t mask, uint32_t bytes, const uint64_t* at, uint64_t base);
  void global(uint32_t mask, uint32_t bytes, Access access, const uint64_t* at);
  void report(LaunchReport& report) const;

 private:
  LaunchReport counts_;
};

// The bytes of global memory that a launch touched.
class Touched {
 public:
  void global(uint32_t mask, uint32_t bytes, Access access, const uint64_t* at);
  void report(LaunchReport& report) const;

 private:
  PageMap<uint8_t> bytes_;  // 1 read, 2 written
};

}  // namespace flyball::simulated_gpu

#pragma once

#include <memory>

#include "tests/simulated_gpu/observer.h"

namespace flyball::simulated_gpu {

// The checks on request and the counters of one launch.
class Checks : public Observer {
 public:
  // Null if the options ask for nothing. tracking: device memory carries initialisation bits, which
  // writes must set.
  static std::unique_ptr<Checks> make(Launch& launch, bool tracking);
  virtual void report(LaunchReport& report) = 0;
};

}  // namespace flyball::simulated_gpu

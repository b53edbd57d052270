#pragma once

namespace flyball::bench {

// What the machine can do at most, measured with the threads that the kernels may use.
struct Ceilings {
  double gflops = 0;  // f32 multiply-adds on registers, two operations each
  double gbs = 0;     // a copy between two buffers much larger than the caches, read + written
};

Ceilings measure_ceilings(bool wall);

}  // namespace flyball::bench

#pragma once

#include <cstdint>
#include <vector>

#include "framework/module.h"

namespace flyball {

// How a weight gets its first values. fan_in and fan_out are the inputs and outputs of one unit
// (for a convolution: r*s*c and r*s*k).
enum class Scheme {
  kKaimingUniform,  // U(-b, b), b = sqrt(6 / fan_in)            He et al. 2015, arXiv:1502.01852
  kKaimingNormal,   // N(0, 2 / fan_in)
  kXavierUniform,   // U(-b, b), b = sqrt(6 / (fan_in + fan_out)) Glorot & Bengio 2010
  kXavierNormal,    // N(0, 2 / (fan_in + fan_out))
  kOrthogonal,      // orthonormal rows or columns, whichever are fewer   Saxe et al. 2014,
                    // arXiv:1312.6120
  kFanIn,  // U(-b, b), b = 1 / sqrt(fan_in): the usual default of linear and convolution layers
};

// Makes parameters. Every number comes from Philox at (seed, number of the parameter, index of the
// element): it depends on the order in which parameters are made, not on the device, the dtype or
// the thread count.
class Initializer {
 public:
  Initializer(const Stream& stream, uint64_t seed, DType dtype = DType::f32)
      : stream_(stream), seed_(seed), dtype_(dtype) {}

  Parameter weight(const Shape& shape, int64_t fan_in, int64_t fan_out,
                   Scheme scheme = Scheme::kFanIn);
  Parameter bias(int64_t count, int64_t fan_in);  // kFanIn; no weight decay
  Parameter filled(const Shape& shape, double value, bool decay);
  uint32_t next_dropout_layer() { return dropout_layers_++; }
  const Stream& stream() const { return stream_; }

 private:
  Parameter parameter(const Shape& shape, const std::vector<double>& values, bool decay);

  const Stream& stream_;
  uint64_t seed_;
  DType dtype_;
  uint32_t parameters_ = 0;
  uint32_t dropout_layers_ = 0;
};

}  // namespace flyball

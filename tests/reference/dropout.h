#pragma once

#include "kernels/dropout.h"
#include "kernels/philox.h"

// The formula of kernels/dropout.h, one element at a time.
namespace flyball::reference {

inline void dropout(const InvertedDropout<double>& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    const PhiloxWords words =
        philox_at(static_cast<uint64_t>(i / 4), static_cast<uint32_t>(*a.step), a.layer, a.seed);
    const bool keep = static_cast<double>(words.word[i % 4]) >= a.probability * 4294967296.0;
    const double value = keep ? a.x[i] / (1 - a.probability) : 0;
    a.y[i] = (a.accumulate ? a.y[i] : 0) + value;
  }
}

}  // namespace flyball::reference

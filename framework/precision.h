#pragma once

#include <cstdint>
#include <string>

#include "framework/device.h"

namespace flyball {

// What conv2d, linear and matmul compute with; the rest computes in the dtype of its inputs.
// fp32: f32. tf32: f32 tensors, whose elements are rounded to 11 significant bits as they are
// multiplied on tensor cores; sums in f32. bf16: bf16 tensors, multiplied on tensor cores; sums,
// weights, biases, their gradients and the loss in f32, unscaled.
enum class Precision : uint8_t { fp32, tf32, bf16 };

const char* name_of(Precision precision);

// "fp32", "tf32" or "bf16"; throws Error naming the flag.
Precision parse_precision(const std::string& text);

// Throws Error where the device cannot: tf32 and bf16 need CUDA and compute capability 8.0.
void check_precision(Precision precision, Device device);
// The same for a device of the given capability: 75 is 7.5, 0 has none.
void check_precision(Precision precision, Device device, int compute_capability);

}  // namespace flyball

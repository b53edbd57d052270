#include "framework/precision.h"

#include "framework/device_runtime.h"
#include "kernels/error.h"

namespace flyball {
namespace {

constexpr Precision kAll[] = {Precision::fp32, Precision::tf32, Precision::bf16};
constexpr int kFirstTensorCores = 80;  // with tf32 and bf16

}  // namespace

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return "fp32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      return "bf16";
  }
  return "?";
}

Precision parse_precision(const std::string& text) {
  for (const Precision precision : kAll) {
    if (text == name_of(precision)) return precision;
  }
  throw Error(str("--precision is '", text, "', expected one of: fp32, tf32, bf16"));
}

void check_precision(Precision precision, Device device) {
  if (precision == Precision::fp32) return;
  check_precision(precision, device, device_runtime(device).compute_capability());
}

void check_precision(Precision precision, Device device, int compute_capability) {
  if (precision == Precision::fp32) return;
  const std::string what = str("--precision ", name_of(precision), ": ", device.str());
  if (device.kind == Device::Kind::cpu) {
    throw Error(str(what, " has no tensor cores, expected --device cuda"));
  }
  if (compute_capability >= kFirstTensorCores) return;
  throw Error(str(what, " has compute capability ", compute_capability / 10, ".",
                  compute_capability % 10, ", expected 8.0 or newer"));
}

}  // namespace flyball

#include "kernels/cpu/winograd_body.h"

namespace flyball::cpu::winograd {
namespace {

struct Portable {
  static constexpr int kWidth = 4, kRows = 4;
};

}  // namespace

const Kernels& portable_kernels() { return Body<Portable>::kKernels; }

}  // namespace flyball::cpu::winograd

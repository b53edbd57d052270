#ifdef __AVX2__  // CMakeLists.txt compiles this file alone for it

#include "kernels/cpu/winograd_body.h"

namespace flyball::cpu::winograd {
namespace {

// 12 of 16 registers are sums.
struct Avx2 {
  static constexpr int kWidth = 8, kRows = 6;
};

}  // namespace

const Kernels& avx2_kernels() { return Body<Avx2>::kKernels; }

}  // namespace flyball::cpu::winograd

#endif

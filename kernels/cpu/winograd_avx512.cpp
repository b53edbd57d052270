#ifdef __AVX512F__  // CMakeLists.txt compiles this file alone for it

#include "kernels/cpu/winograd_body.h"

namespace flyball::cpu::winograd {
namespace {

// 28 of 32 registers are sums.
struct Avx512 {
  static constexpr int kWidth = 16, kRows = 14;
};

}  // namespace

const Kernels& avx512_kernels() { return Body<Avx512>::kKernels; }

}  // namespace flyball::cpu::winograd

#endif

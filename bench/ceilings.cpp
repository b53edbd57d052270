#include "bench/ceilings.h"

#include <cstdint>
#include <vector>

#include "bench/measure.h"
#include "kernels/copy.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace flyball::bench {
namespace {

constexpr int64_t kRounds = 200'000;
constexpr int64_t kCopyBytes = int64_t{1} << 28;

// x = x * a + b on kChains independent vectors, enough to fill the multiply-add units and few
// enough to stay in registers.
template <class Vector, int kChains>
FLYBALL_INLINE float run_chains(float a) {
  Vector x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = Vector{} + static_cast<float>(i);
  const Vector factor = Vector{} + a, addend = Vector{} + 1e-3F;
  for (int64_t round = 0; round < kRounds; ++round) {
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) x[i] = x[i] * factor + addend;
  }
  Vector sum{};
  for (int i = 0; i < kChains; ++i) sum += x[i];
  return sum[0];
}

using Vector4 = float __attribute__((vector_size(16)));
float chains_of_4(float a) { return run_chains<Vector4, 12>(a); }
constexpr double kFlopsOf4 = 2.0 * 4 * 12 * kRounds;

#if defined(__x86_64__)
using Vector8 = float __attribute__((vector_size(32)));
using Vector16 = float __attribute__((vector_size(64)));
__attribute__((target("avx2,fma"))) float chains_of_8(float a) {
  return run_chains<Vector8, 12>(a);
}
__attribute__((target("avx512f"))) float chains_of_16(float a) {
  return run_chains<Vector16, 24>(a);
}
#endif

struct Chains {
  float (*run)(float);
  double flops;
};

Chains widest_chains() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {chains_of_16, 2.0 * 16 * 24 * kRounds};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {chains_of_8, 2.0 * 8 * 12 * kRounds};
  }
#endif
  return {chains_of_4, kFlopsOf4};
}

}  // namespace

Ceilings measure_ceilings(bool wall) {
  const Chains chains = widest_chains();
  volatile float sink = 0;
  const auto multiply_add = [&] {
    cpu::parallel_for(cpu::threads(), [&](int64_t) { sink = chains.run(0.999F); });
  };
  const double chain_us = measure(multiply_add, 0.5, wall).least;

  const std::vector<char> from(kCopyBytes, 1);
  std::vector<char> to(kCopyBytes, 2);
  const auto copy = [&] {
    cpu::copy(Copy{.from = from.data(), .to = to.data(), .bytes = kCopyBytes});
  };
  const double copy_us = measure(copy, 0.5, wall).least;
  return {chains.flops * cpu::threads() / chain_us * 1e-3, 2e-3 * kCopyBytes / copy_us};
}

}  // namespace flyball::bench

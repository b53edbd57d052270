#include "bench/device_ceilings.h"

#include <algorithm>

#include "bench/device_timing.h"
#include "bench/measure.h"
#include "bench/multiply_adds.h"
#include "framework/run.h"
#include "framework/tensor.h"
#include "kernels/copy.h"

namespace flyball::bench {
namespace {

constexpr double kSeconds = 0.2;  // of measuring each
constexpr int kRounds = 4096;
constexpr int kBlocksOfProcessor = 8;
constexpr int64_t kCopyBytes = int64_t{1} << 29;

double gflops_of(const Stream& stream, const DeviceFacts& facts, MultiplyAddUnit unit) {
  const int blocks = facts.processors * kBlocksOfProcessor;
  Tensor sums = Tensor::empty(stream, {int64_t{blocks} * kMultiplyAddThreads});
  double flops = 0;
  const TimedGraph graph(
      stream,
      [&](int) {
        flops = multiply_add(
            unit,
            {.sums = static_cast<float*>(sums.mutable_raw()), .blocks = blocks, .rounds = kRounds},
            static_cast<cudaStream_t>(stream.handle()));
      },
      1);
  return 1e-3 * flops / timing_of([&] { return graph.seconds(); }, kSeconds).least;
}

}  // namespace

DeviceCeilings measure_device_ceilings(const Stream& stream) {
  const DeviceFacts facts = facts_of(stream);
  DeviceCeilings ceilings;
  ceilings.f32_gflops = gflops_of(stream, facts, MultiplyAddUnit::f32);
  if (facts.compute_capability >= 80) {
    ceilings.tf32_gflops = gflops_of(stream, facts, MultiplyAddUnit::tf32);
    ceilings.bf16_gflops = gflops_of(stream, facts, MultiplyAddUnit::bf16);
  }
  const int64_t bytes = std::max(kCopyBytes, 4 * facts.l2_bytes);
  Tensor from = Tensor::empty(stream, {bytes}, DType::u8);
  Tensor to = Tensor::empty(stream, {bytes}, DType::u8);
  const TimedGraph copy(
      stream,
      [&](int) {
        run<cpu::copy, cuda::copy>(
            stream, Copy{.from = from.raw(), .to = to.mutable_raw(), .bytes = bytes});
      },
      1);
  const double us = timing_of([&] { return copy.seconds(); }, kSeconds).least;
  ceilings.gbs = 2e-3 * static_cast<double>(bytes) / us;
  return ceilings;
}

}  // namespace flyball::bench

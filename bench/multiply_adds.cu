#include "bench/multiply_adds.h"

#include "kernels/bf16.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mma.cuh"

namespace flyball::bench {
namespace {

__global__ void __launch_bounds__(kMultiplyAddThreads)
    multiply_add_f32_kernel(const MultiplyAdds m) {
  float x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = static_cast<float>(i);
#pragma unroll 16
  for (int round = 0; round < m.rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) x[i] = fmaf(x[i], m.factor, 1.0F);
  }
  float sum = 0;
  for (int i = 0; i < kChains; ++i) sum += x[i];
  m.sums[blockIdx.x * kMultiplyAddThreads + threadIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kMultiplyAddThreads)
    multiply_add_tensor_kernel(const MultiplyAdds m) {
  float c[kChains][4];
  for (int i = 0; i < kChains; ++i) {
    for (float& x : c[i]) x = static_cast<float>(i);
  }
  const unsigned a[4] = {m.ones, m.ones, m.ones, m.ones}, b[2] = {m.ones, m.ones};
#pragma unroll 4
  for (int round = 0; round < m.rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) cuda::multiply_add<T>(c[i], a, b);
  }
  float sum = 0;
  for (int i = 0; i < kChains; ++i) sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];
  m.sums[blockIdx.x * kMultiplyAddThreads + threadIdx.x] = sum;
}

}  // namespace

double multiply_add(MultiplyAddUnit unit, MultiplyAdds arguments, cudaStream_t stream) {
  const cuda::LaunchShape shape{.grid = dim3(static_cast<unsigned>(arguments.blocks)),
                                .block = dim3(kMultiplyAddThreads)};
  const double threads = static_cast<double>(arguments.blocks) * kMultiplyAddThreads;
  const double chains = threads * kChains * arguments.rounds;
  switch (unit) {
    case MultiplyAddUnit::f32:
      cuda::launch(multiply_add_f32_kernel, "multiply_add_f32", shape, stream, arguments);
      return 2 * chains;
    case MultiplyAddUnit::tf32:
      arguments.ones = 0x3F800000U;
      cuda::launch(multiply_add_tensor_kernel<float>, "multiply_add_tf32", shape, stream,
                   arguments);
      return chains / 32 * 2 * 16 * 8 * 8;
    case MultiplyAddUnit::bf16:
      arguments.ones = 0x3F803F80U;
      cuda::launch(multiply_add_tensor_kernel<bf16>, "multiply_add_bf16", shape, stream, arguments);
      return chains / 32 * 2 * 16 * 8 * 16;
  }
  return 0;
}

}  // namespace flyball::bench

#include "kernels/learning_rate.h"

#include "kernels/cuda/end_step.cuh"
#include "kernels/cuda/launch.cuh"

// Compiled with --fmad=false: the rules give the same bits on every device.
namespace flyball::cuda {
namespace {

constexpr int kThreads = 32;

// registers: <= 72
template <class T>
__global__ void __launch_bounds__(kThreads) learning_rate_kernel(StepFeedback<T> f) {
  end_step(f, {});
}

}  // namespace

template <class T>
void learning_rate(const StepFeedback<T>& f, cudaStream_t stream) {
  launch(learning_rate_kernel<T>, "learning_rate", {.grid = 1, .block = kThreads}, stream, f);
}

template void learning_rate(const StepFeedback<float>&, cudaStream_t);
template void learning_rate(const StepFeedback<double>&, cudaStream_t);

}  // namespace flyball::cuda

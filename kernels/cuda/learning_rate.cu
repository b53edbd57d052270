#include "kernels/learning_rate.h"

#include "kernels/cuda/end_step.cuh"
#include "kernels/cuda/gradient_sums.cuh"
#include "kernels/cuda/launch.cuh"

// Compiled with --fmad=false: the rules give the same bits on every device.
namespace flyball::cuda {
namespace {

// registers: <= 72
template <class T>
__global__ void __launch_bounds__(kArenaThreads, 1) learning_rate_kernel(StepFeedback<T> f) {
  __shared__ double totals[kKinds];
  const bool known = f.partial_sums != nullptr;
  put_totals(f.partial_sums, f.chunks, known && course_of(f) == StepCourse::update, totals);
  end_step(f, {known, totals[0], totals[1], totals[2]});
}

}  // namespace

template <class T>
void learning_rate(const StepFeedback<T>& f, cudaStream_t stream) {
  launch(learning_rate_kernel<T>, "learning_rate", {.grid = 1, .block = kArenaThreads}, stream, f);
}

template void learning_rate(const StepFeedback<float>&, cudaStream_t);
template void learning_rate(const StepFeedback<double>&, cudaStream_t);

}  // namespace flyball::cuda

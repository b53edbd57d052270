#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/lstm_recurrence.cuh"
#include "kernels/gemm.h"

// The recurrence with a product for each step and direction, and one cell kernel for both.
namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct StepTask {
  LstmTask<T> task;
  int64_t number;  // in the order of computation
};

// Where a thread works: one unit of one sequence in one direction.
struct Cell {
  int64_t direction, b, unit, t, row;

  template <class T>
  static __device__ bool of_thread(const StepTask<T>& step, Cell& cell) {
    const LstmShape& s = step.task.shape;
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= s.directions * s.batch * s.d) return false;
    cell.direction = i / (s.batch * s.d);
    cell.b = i / s.d % s.batch;
    cell.unit = i % s.d;
    cell.t = cell.direction == 0 ? step.number : s.time - 1 - step.number;
    cell.row = cell.t * s.batch + cell.b;
    return true;
  }
  // Rows from this step to the one that follows it in the order of computation.
  __device__ int64_t stride(const LstmShape& s) const {
    return direction == 0 ? s.batch : -s.batch;
  }
  __device__ int64_t y_index(const LstmShape& s) const {
    return row * s.directions * s.d + direction * s.d + unit;
  }
};

// registers: <= 64
template <class T>
__global__ void __launch_bounds__(kThreads) lstm_step_forward_kernel(StepTask<T> step) {
  const LstmTask<T>& task = step.task;
  const LstmShape& s = task.shape;
  Cell cell;
  if (!Cell::of_thread(step, cell)) return;
  const LstmSaved<T> saved = task.of(cell.direction);
  T* z = saved.gates + cell.row * 4 * s.d + cell.unit;
  T gates[4] = {}, c = 0, y = 0;
  if (cell.t < sequence_length(task.lengths, cell.b, s.time)) {
#pragma unroll
    for (int g = 0; g < 4; ++g) {
      gates[g] = z[g * s.d];
      if (task.b_hh != nullptr) gates[g] += task.b_hh[(cell.direction * 4 + g) * s.d + cell.unit];
    }
    const int64_t row_before = cell.row - cell.stride(s);
    const T c_before = step.number > 0 ? saved.cells[row_before * s.d + cell.unit] : T{0};
    lstm_cell_forward(gates, c_before, c, y);
  }
#pragma unroll
  for (int g = 0; g < 4; ++g) z[g * s.d] = gates[g];
  saved.cells[cell.row * s.d + cell.unit] = c;
  task.y[cell.y_index(s)] = y;
  if (step.number == 0) saved.before[cell.row * s.d + cell.unit] = 0;
  if (step.number + 1 < s.time) saved.before[(cell.row + cell.stride(s)) * s.d + cell.unit] = y;
}

// registers: <= 64
template <class T>
__global__ void __launch_bounds__(kThreads) lstm_step_backward_kernel(StepTask<T> step) {
  const LstmTask<T>& task = step.task;
  const LstmShape& s = task.shape;
  Cell cell;
  if (!Cell::of_thread(step, cell)) return;
  const LstmSaved<T> saved = task.of(cell.direction);
  const int64_t state = (cell.direction * s.batch + cell.b) * s.d + cell.unit;
  T* z = saved.gates + cell.row * 4 * s.d + cell.unit;
  T gates[4] = {}, dc = 0;
  if (cell.t < sequence_length(task.lengths, cell.b, s.time)) {
    T dh = task.dy[cell.y_index(s)];
    if (step.number + 1 < s.time) {
      dh += task.dh[state];
      dc = task.dc[state];
    }
#pragma unroll
    for (int g = 0; g < 4; ++g) gates[g] = z[g * s.d];
    const int64_t row_before = cell.row - cell.stride(s);
    const T c_before = step.number > 0 ? saved.cells[row_before * s.d + cell.unit] : T{0};
    lstm_cell_backward(gates, c_before, saved.cells[cell.row * s.d + cell.unit], dh, dc);
  }
#pragma unroll
  for (int g = 0; g < 4; ++g) z[g * s.d] = gates[g];
  task.dc[state] = dc;
}

// z += y' w_hh^T
template <class T>
Gemm<T> forward_product(const LstmShape& s) {
  return {.m = s.batch, .n = 4 * s.d, .k = s.d, .transpose_b = true, .accumulate = true};
}

// dh = dz w_hh
template <class T>
Gemm<T> backward_product(const LstmShape& s) {
  return {.m = s.batch, .n = s.d, .k = 4 * s.d};
}

template <class T>
void launch_cells(void (*kernel)(StepTask<T>), const char* name, const StepTask<T>& step,
                  cudaStream_t stream) {
  const LstmShape& s = step.task.shape;
  const int64_t blocks = ceil_divide(s.directions * s.batch * s.d, kThreads);
  launch(kernel, name, {.grid = static_cast<unsigned>(blocks), .block = kThreads}, stream, step);
}

}  // namespace

template <class T>
int64_t lstm_steps_workspace_bytes(const LstmShape& s) {
  return std::max(gemm_workspace_bytes(forward_product<T>(s)),
                  gemm_workspace_bytes(backward_product<T>(s)));
}

template <class T>
void lstm_steps_forward(const LstmTask<T>& task, void* workspace, cudaStream_t stream) {
  const LstmShape& s = task.shape;
  for (int64_t number = 0; number < s.time; ++number) {
    for (int64_t direction = 0; number > 0 && direction < s.directions; ++direction) {
      const int64_t row = (direction == 0 ? number : s.time - 1 - number) * s.batch;
      Gemm<T> product = forward_product<T>(s);
      product.a = task.of(direction).before + row * s.d;
      product.b = task.weights(direction);
      product.c = task.of(direction).gates + row * 4 * s.d;
      product.workspace = workspace;
      gemm(product, stream);
    }
    launch_cells(lstm_step_forward_kernel<T>, "lstm_step_forward", StepTask<T>{task, number},
                 stream);
  }
}

template <class T>
void lstm_steps_backward(const LstmTask<T>& task, void* workspace, cudaStream_t stream) {
  const LstmShape& s = task.shape;
  for (int64_t number = s.time - 1; number >= 0; --number) {
    launch_cells(lstm_step_backward_kernel<T>, "lstm_step_backward", StepTask<T>{task, number},
                 stream);
    for (int64_t direction = 0; number > 0 && direction < s.directions; ++direction) {
      const int64_t row = (direction == 0 ? number : s.time - 1 - number) * s.batch;
      Gemm<T> product = backward_product<T>(s);
      product.a = task.of(direction).gates + row * 4 * s.d;
      product.b = task.weights(direction);
      product.c = task.dh + direction * s.batch * s.d;
      product.workspace = workspace;
      gemm(product, stream);
    }
  }
}

template int64_t lstm_steps_workspace_bytes<float>(const LstmShape&);
template int64_t lstm_steps_workspace_bytes<double>(const LstmShape&);
template void lstm_steps_forward(const LstmTask<float>&, void*, cudaStream_t);
template void lstm_steps_forward(const LstmTask<double>&, void*, cudaStream_t);
template void lstm_steps_backward(const LstmTask<float>&, void*, cudaStream_t);
template void lstm_steps_backward(const LstmTask<double>&, void*, cudaStream_t);

}  // namespace flyball::cuda

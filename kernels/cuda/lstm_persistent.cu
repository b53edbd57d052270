#include <cooperative_groups.h>

#include <algorithm>

#include "kernels/cuda/cooperative.cuh"
#include "kernels/cuda/lstm_recurrence.cuh"
#include "kernels/cuda/reduce.cuh"

// The whole recurrence in one launch. A block has 16 units of 8 sequences in one direction for all
// steps, and keeps the recurrent weights of its units in registers: 32 a thread.
// Between two steps the blocks exchange y (dz in backward) through global memory and wait for each
// other.
namespace flyball::cuda {
namespace {

constexpr int kUnits = 16, kSequences = 8;
constexpr int kCells = kUnits * kSequences;  // the first so many threads have one each
constexpr int kDepth = 32;                   // weights of a thread
template <class T>
constexpr int kMaximumThreads = 2048 / static_cast<int>(sizeof(T));  // for all of their registers
constexpr int kRows = 4 * kUnits;                                    // gates of a block
// Distances that put what neighbouring threads touch into different banks.
constexpr int kRowStride = kRows + kUnits, kCellStride = kCells + kUnits;
constexpr int kDepthStride = kDepth + 4;

// What a block works on.
struct Slice {
  int64_t direction = blockIdx.z;
  int64_t first_unit = int64_t{blockIdx.x} * kUnits;
  int64_t first_sequence = int64_t{blockIdx.y} * kSequences;

  // Of the block that exist, at most kSequences.
  __device__ int sequences(int64_t batch) const {
    const int64_t left = batch - first_sequence;
    return left < kSequences ? static_cast<int>(left) : kSequences;
  }
  __device__ int64_t time_of(int64_t number, int64_t steps) const {
    return direction == 0 ? number : steps - 1 - number;
  }
};

// One unit of one sequence; exists for the block's first kCells threads, as far as the sizes go.
template <class T>
struct Cell {
  const LstmTask<T>& task;
  LstmSaved<T> saved;
  int64_t direction, b, unit, length;
  bool exists;

  __device__ Cell(const LstmTask<T>& task, const Slice& slice)
      : task(task),
        saved(task.of(slice.direction)),
        direction(slice.direction),
        b(slice.first_sequence + threadIdx.x / kUnits),
        unit(slice.first_unit + threadIdx.x % kUnits),
        exists(threadIdx.x < kCells && b < task.shape.batch && unit < task.shape.d) {
    length = exists ? sequence_length(task.lengths, b, task.shape.time) : 0;
  }
  __device__ int64_t row(int64_t t) const { return t * task.shape.batch + b; }
  __device__ T* gates(int64_t t) const { return saved.gates + row(t) * 4 * task.shape.d + unit; }
  __device__ T& cell(int64_t t) const { return saved.cells[row(t) * task.shape.d + unit]; }
  __device__ T& before(int64_t t) const { return saved.before[row(t) * task.shape.d + unit]; }
  __device__ int64_t y_index(int64_t t) const {
    return row(t) * task.shape.directions * task.shape.d + direction * task.shape.d + unit;
  }
  __device__ void read_gates(int64_t t, T (&values)[4]) const {
#pragma unroll
    for (int g = 0; g < 4; ++g) values[g] = gates(t)[g * task.shape.d];
  }
  __device__ void write_gates(int64_t t, const T (&values)[4]) const {
#pragma unroll
    for (int g = 0; g < 4; ++g) gates(t)[g * task.shape.d] = values[g];
  }
};

// The longest sequence's length, in every thread.
template <class T>
__device__ int64_t longest(const LstmTask<T>& task) {
  int64_t most = 0;
  for (int64_t b = threadIdx.x; b < task.shape.batch; b += blockDim.x) {
    most = larger(most, sequence_length(task.lengths, b, task.shape.time));
  }
  return block_max(most, int64_t{0});
}

// sums[q] = weights . vectors[q], both of kDepth numbers; vectors are `stride` apart.
template <class T>
__device__ void multiply(const T (&weights)[kDepth], const T* vectors, int stride,
                         T (&sums)[kSequences]) {
#pragma unroll
  for (int q = 0; q < kSequences; ++q) {
    sums[q] = 0;
#pragma unroll
    for (int i = 0; i < kDepth; i += 4) {
      const Four<T> four = *reinterpret_cast<const Four<T>*>(vectors + q * stride + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[q] += weights[i + j] * four.at[j];
    }
  }
}

// Thread: row threadIdx.x % 64 of the block's gates, and kDepth of the state's d.
// registers: <= 184 (<= 128 in f32)
template <class T>
__global__ void __launch_bounds__(kMaximumThreads<T>)
    lstm_persistent_forward_kernel(LstmTask<T> task) {
  extern __shared__ __align__(16) unsigned char memory[];
  const auto grid = cooperative_groups::this_grid();
  const int64_t batch = task.shape.batch, time = task.shape.time;
  const int d = static_cast<int>(task.shape.d);
  const int parts = static_cast<int>(blockDim.x) / kRows, stride = parts * kDepth;
  T* states = reinterpret_cast<T*>(memory);   // [kSequences, stride]
  T* partial = states + kSequences * stride;  // [parts, kSequences, kRowStride]
  const Slice slice;
  const int sequences = slice.sequences(batch);
  const Cell<T> cell(task, slice);
  const int line = static_cast<int>(threadIdx.x) % kRows;
  const int part = static_cast<int>(threadIdx.x) / kRows;

  T weights[kDepth], bias[4] = {};
  const int64_t unit = slice.first_unit + line % kUnits;
  const T* row = task.weights(slice.direction) + (line / kUnits * d + unit) * d;
#pragma unroll
  for (int i = 0; i < kDepth; ++i) {
    const int64_t column = part * kDepth + i;
    weights[i] = unit < d && column < d ? row[column] : T{0};
  }
  if (cell.exists && task.b_hh != nullptr) {
#pragma unroll
    for (int g = 0; g < 4; ++g) bias[g] = task.b_hh[(slice.direction * 4 + g) * d + cell.unit];
  }

  const int half = static_cast<int>(threadIdx.x) / stride;  // stride is blockDim.x / 2
  const int column = static_cast<int>(threadIdx.x) - half * stride;
  const int64_t steps = longest(task);
  T gates[4] = {}, c_before = 0;
  if (cell.exists && steps > 0) {
    cell.read_gates(slice.time_of(0, steps), gates);
    cell.before(slice.time_of(0, steps)) = 0;
  }
  for (int64_t number = 0; number < steps; ++number) {
    const int64_t t = slice.time_of(number, steps);
    // load: y of the step before, of all units; half of the threads a sequence
    const T* from = cell.saved.before + (t * batch + slice.first_sequence + half) * d + column;
    const int left = number > 0 && column < d ? sequences - half : 0;
    T loaded[kSequences / 2];
#pragma unroll
    for (int i = 0; i < kSequences / 2; ++i) loaded[i] = 2 * i < left ? from[2 * i * d] : T{0};
#pragma unroll
    for (int i = 0; i < kSequences / 2; ++i) {
      states[(2 * i + half) * stride + column] = loaded[i];
    }
    __syncthreads();  // the states are complete
    // multiply
    T sums[kSequences];
    multiply(weights, states + part * kDepth, stride, sums);
#pragma unroll
    for (int q = 0; q < kSequences; ++q)
      partial[(part * kSequences + q) * kRowStride + line] = sums[q];
    __syncthreads();  // the partial sums are complete
    // one cell a thread
    if (cell.exists) {
      const bool running = t < cell.length;
      T c = 0, y = 0;
#pragma unroll
      for (int g = 0; g < 4; ++g) {
        gates[g] += bias[g];
        for (int p = 0; p < parts; ++p) {
          gates[g] += partial[(p * kSequences + threadIdx.x / kUnits) * kRowStride + g * kUnits +
                              threadIdx.x % kUnits];
        }
      }
      lstm_cell_forward(gates, c_before, c, y);
      if (!running) {
        gates[0] = gates[1] = gates[2] = gates[3] = 0;
        c = y = 0;
      }
      cell.write_gates(t, gates);
      cell.cell(t) = c_before = c;
      task.y[cell.y_index(t)] = y;
      if (number + 1 < steps) {
        const int64_t next = slice.time_of(number + 1, steps);
        cell.before(next) = y;
        cell.read_gates(next, gates);  // on its way while the blocks wait
      }
    }
    grid.sync();  // every block's y of this step is there
  }
  // What lies past the longest sequence.
  for (int64_t t = steps; cell.exists && t < time; ++t) {
    const T zeros[4] = {};
    cell.write_gates(t, zeros);
    cell.cell(t) = cell.before(t) = task.y[cell.y_index(t)] = 0;
  }
}

// Thread: unit threadIdx.x % 16 of the block, and kDepth of the 4 d gates.
// registers: <= 176 (<= 112 in f32)
template <class T>
__global__ void __launch_bounds__(kMaximumThreads<T>)
    lstm_persistent_backward_kernel(LstmTask<T> task) {
  extern __shared__ __align__(16) unsigned char memory[];
  const auto grid = cooperative_groups::this_grid();
  const int64_t batch = task.shape.batch;
  const int d = static_cast<int>(task.shape.d);
  const int parts = static_cast<int>(blockDim.x) / kUnits, stride = parts * kDepthStride;
  T* after =
      reinterpret_cast<T*>(memory);  // dz of the step after: [kSequences, parts, kDepthStride]
  T* partial = after + kSequences * stride;  // [parts, kCellStride]
  const Slice slice;
  const int sequences = slice.sequences(batch);
  const Cell<T> cell(task, slice);
  const int line = static_cast<int>(threadIdx.x) % kUnits;
  const int part = static_cast<int>(threadIdx.x) / kUnits;

  T weights[kDepth];
  const int64_t unit = slice.first_unit + line;
#pragma unroll
  for (int i = 0; i < kDepth; ++i) {
    const int64_t row = part * kDepth + i;
    weights[i] = unit < d && row < 4 * d ? task.weights(slice.direction)[row * d + unit] : T{0};
  }

  const int64_t steps = longest(task);
  T dc = 0;
  for (int64_t number = steps - 1; number >= 0; --number) {
    const int64_t t = slice.time_of(number, steps);
    const bool running = cell.exists && t < cell.length;
    // load: what this cell kept, and dz of the step after, of all units
    T gates[4] = {}, c = 0, c_before = 0, dh = 0;
    if (running) {
      cell.read_gates(t, gates);
      c = cell.cell(t);
      if (number > 0) c_before = cell.cell(slice.time_of(number - 1, steps));
      dh = task.dy[cell.y_index(t)];
    }
    if (number + 1 < steps) {
      grid.sync();  // every block's dz of the step after is there
      const int64_t next = slice.time_of(number + 1, steps);
      const T* from = cell.saved.gates + (next * batch + slice.first_sequence) * 4 * d;
#pragma unroll 1
      for (int row = threadIdx.x; row < parts * kDepth; row += blockDim.x) {
        const int left = row < 4 * d ? sequences : 0;
        T loaded[kSequences];
#pragma unroll
        for (int q = 0; q < kSequences; ++q) loaded[q] = q < left ? from[q * 4 * d + row] : T{0};
        T* to = after + row / kDepth * kDepthStride + row % kDepth;
#pragma unroll
        for (int q = 0; q < kSequences; ++q) to[q * stride] = loaded[q];
      }
      __syncthreads();  // dz of the step after is complete
      // multiply
      T sums[kSequences];
      multiply(weights, after + part * kDepthStride, stride, sums);
#pragma unroll
      for (int q = 0; q < kSequences; ++q) {
        partial[part * kCellStride + q * kUnits + line] = sums[q];
      }
      __syncthreads();  // the partial sums are complete
      for (int p = 0; running && p < parts; ++p) dh += partial[p * kCellStride + threadIdx.x];
    }
    // one cell a thread; past its length dz stays 0
    if (running) {
      lstm_cell_backward(gates, c_before, c, dh, dc);
      cell.write_gates(t, gates);
    } else {
      dc = 0;
    }
  }
}

// `lines` threads side by side and as many parts of the depth above each other; at least kCells.
// shared: numbers in shared memory for each part.
template <class T>
bool run_at_once(void (*kernel)(LstmTask<T>), const char* name, const LstmTask<T>& task, int lines,
                 int64_t depth, int shared, cudaStream_t stream) {
  const LstmShape& s = task.shape;
  const int64_t even = 2 * ceil_divide(depth, 2 * kDepth);  // whole warps
  const int64_t parts = std::max<int64_t>(even, kCells / lines);
  if (parts * lines > kMaximumThreads<T> || ceil_divide(s.batch, kSequences) > 0xFFFF) return false;
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(ceil_divide(s.d, kUnits)),
                                       static_cast<unsigned>(ceil_divide(s.batch, kSequences)),
                                       static_cast<unsigned>(s.directions)),
                          .block = dim3(static_cast<unsigned>(parts * lines)),
                          .shared_bytes = parts * shared * static_cast<int64_t>(sizeof(T))};
  if (!fits_at_once(kernel, name, shape)) return false;
  launch_at_once(kernel, name, shape, stream, task);
  return true;
}

}  // namespace

template <class T>
bool lstm_persistent_forward(const LstmTask<T>& task, cudaStream_t stream) {
  return run_at_once(lstm_persistent_forward_kernel<T>, "lstm_persistent_forward", task, kRows,
                     task.shape.d, kSequences * (kDepth + kRowStride), stream);
}

template <class T>
bool lstm_persistent_backward(const LstmTask<T>& task, cudaStream_t stream) {
  return run_at_once(lstm_persistent_backward_kernel<T>, "lstm_persistent_backward", task, kUnits,
                     4 * task.shape.d, kSequences * kDepthStride + kCellStride, stream);
}

template bool lstm_persistent_forward(const LstmTask<float>&, cudaStream_t);
template bool lstm_persistent_forward(const LstmTask<double>&, cudaStream_t);
template bool lstm_persistent_backward(const LstmTask<float>&, cudaStream_t);
template bool lstm_persistent_backward(const LstmTask<double>&, cudaStream_t);

}  // namespace flyball::cuda

#include "kernels/elementwise.h"

#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

// One pass over memory each: a thread loads all its slots before it stores the first.
namespace flyball::cuda {
namespace {

// registers: <= 32
template <class T>
__global__ void __launch_bounds__(kMapThreads) fill_kernel(Fill<T> a) {
  using A = Accumulator<T>;
  const A value = a.factor != nullptr ? static_cast<A>(a.value * widened(*a.factor)) : a.value;
  if (a.accumulate) {
    map_elements<T>(
        a.count, a.x, [=](A x) { return static_cast<A>(x + value); }, a.x);
  } else {
    map_elements<T>(a.count, a.x, [=] { return value; });
  }
}

// registers: <= 48
template <class T>
__global__ void __launch_bounds__(kMapThreads) scale_kernel(Scale<T> a) {
  using A = Accumulator<T>;
  const A alpha = a.alpha_pointer != nullptr ? *a.alpha_pointer : a.alpha;
  if (a.accumulate) {
    map_elements<T>(
        a.count, a.y, [=](A x, A y) { return y + alpha * x; }, a.x, a.y);
  } else {
    map_elements<T>(
        a.count, a.y, [=](A x) { return alpha * x; }, a.x);
  }
}

// registers: <= 48
template <class T>
__global__ void __launch_bounds__(kMapThreads) add_kernel(Add<T> a) {
  using A = Accumulator<T>;
  map_elements<T>(
      a.count, a.y, [](A x, A y) { return x + y; }, a.a, a.b);
}

// registers: <= 60
template <class T>
__global__ void __launch_bounds__(kMapThreads) multiply_kernel(Multiply<T> a) {
  using A = Accumulator<T>;
  if (a.accumulate) {
    map_elements<T>(
        a.count, a.y, [](A x, A y, A z) { return z + x * y; }, a.a, a.b, a.y);
  } else {
    map_elements<T>(
        a.count, a.y, [](A x, A y) { return x * y; }, a.a, a.b);
  }
}

// registers: <= 32
template <class T>
__global__ void __launch_bounds__(kMapThreads) relu_forward_kernel(ReluForward<T> a) {
  using A = Accumulator<T>;
  map_elements<T>(
      a.count, a.y, [](A x) { return x < 0 ? A{0} : x; }, a.x);
}

template <class A>
__device__ A masked(A y, A dy) {
  return y > 0 ? dy : A{0};
}

// registers: <= 60
template <class T>
__global__ void __launch_bounds__(kMapThreads) relu_backward_kernel(ReluBackward<T> a) {
  using A = Accumulator<T>;
  if (a.accumulate) {
    map_elements<T>(
        a.count, a.dx, [](A y, A dy, A dx) { return dx + masked(y, dy); }, a.y, a.dy, a.dx);
  } else {
    map_elements<T>(
        a.count, a.dx, [](A y, A dy) { return masked(y, dy); }, a.y, a.dy);
  }
}

template <class T>
struct BiasReluPass {
  BiasReluBackward<T> operation;
  ColumnGrid grid;
};

template <class T>
__host__ __device__ ColumnResult<Accumulator<T>> result_of(const BiasReluBackward<T>& a,
                                                           int64_t groups) {
  return {.y = a.dbias,
          .partial = static_cast<double*>(a.workspace),
          .columns = a.columns,
          .groups = groups,
          .accumulate = a.accumulate_dbias};
}

// Masks a group of rows and adds its columns up in the same read.
// registers: <= 144
template <class T>
__global__ void __launch_bounds__(kColumnThreads) bias_relu_backward_kernel(BiasReluPass<T> pass) {
  using A = Accumulator<T>;
  struct Pair {
    Four<A> y, dy;
  };
  const BiasReluBackward<T>& a = pass.operation;
  const int64_t group = blockIdx.x / pass.grid.column_tiles;
  const int64_t tile = blockIdx.x % pass.grid.column_tiles;
  const Slot slot = column_slot(tile, pass.grid.width, a.columns, are_aligned(a.y, a.dy, a.dz));
  const int64_t row_begin = group * pass.grid.group_rows;
  const int64_t row_end = min(row_begin + pass.grid.group_rows, a.rows);
  double totals[4];
  sum_columns<A>(
      row_begin, row_end, pass.grid.width,
      [&](int64_t row) {
        return Pair{load(a.y + row * a.columns, slot), load(a.dy + row * a.columns, slot)};
      },
      [&](int64_t row, const Pair& pair) {
        Four<A> dz;
#pragma unroll
        for (int j = 0; j < 4; ++j) dz.at[j] = masked(pair.y.at[j], pair.dy.at[j]);
        store_vector(a.dz + row * a.columns, slot, dz);
        return dz;
      },
      totals);
  put_group(result_of(a, pass.grid.groups), group, slot, pass.grid.width, totals);
}

template <class Arguments>
void launch_map(void (*kernel)(Arguments), const char* name, const Arguments& a,
                cudaStream_t stream) {
  if (a.count == 0) return;
  const auto blocks = static_cast<unsigned>(ceil_divide(a.count, kMapTile));
  launch(kernel, name, {.grid = blocks, .block = kMapThreads}, stream, a);
}

}  // namespace

template <class T>
void fill(const Fill<T>& a, cudaStream_t stream) {
  launch_map(fill_kernel<T>, "fill", a, stream);
}

template <class T>
void scale(const Scale<T>& a, cudaStream_t stream) {
  launch_map(scale_kernel<T>, "scale", a, stream);
}

template <class T>
void add(const Add<T>& a, cudaStream_t stream) {
  launch_map(add_kernel<T>, "add", a, stream);
}

template <class T>
void multiply(const Multiply<T>& a, cudaStream_t stream) {
  launch_map(multiply_kernel<T>, "multiply", a, stream);
}

template <class T>
void relu_forward(const ReluForward<T>& a, cudaStream_t stream) {
  launch_map(relu_forward_kernel<T>, "relu_forward", a, stream);
}

template <class T>
void relu_backward(const ReluBackward<T>& a, cudaStream_t stream) {
  launch_map(relu_backward_kernel<T>, "relu_backward", a, stream);
}

template <class T>
void bias_relu_backward(const BiasReluBackward<T>& a, cudaStream_t stream) {
  if (a.dbias == nullptr) {
    relu_backward(ReluBackward<T>{.y = a.y, .dy = a.dy, .dx = a.dz, .count = a.rows * a.columns},
                  stream);
    return;
  }
  if (a.columns == 0) return;
  const ColumnGrid grid = column_grid(a.rows, a.columns);
  launch(bias_relu_backward_kernel<T>, "bias_relu_backward",
         {.grid = static_cast<unsigned>(grid.blocks()), .block = kColumnThreads}, stream,
         BiasReluPass<T>{a, grid});
  sum_groups(result_of(a, grid.groups), stream);
}

template void fill(const Fill<uint8_t>&, cudaStream_t);
template void fill(const Fill<float>&, cudaStream_t);
template void fill(const Fill<double>&, cudaStream_t);
template void fill(const Fill<bf16>&, cudaStream_t);
template void scale(const Scale<float>&, cudaStream_t);
template void scale(const Scale<double>&, cudaStream_t);
template void scale(const Scale<bf16>&, cudaStream_t);
template void add(const Add<float>&, cudaStream_t);
template void add(const Add<double>&, cudaStream_t);
template void add(const Add<bf16>&, cudaStream_t);
template void multiply(const Multiply<float>&, cudaStream_t);
template void multiply(const Multiply<double>&, cudaStream_t);
template void multiply(const Multiply<bf16>&, cudaStream_t);
template void relu_forward(const ReluForward<float>&, cudaStream_t);
template void relu_forward(const ReluForward<double>&, cudaStream_t);
template void relu_forward(const ReluForward<bf16>&, cudaStream_t);
template void relu_backward(const ReluBackward<float>&, cudaStream_t);
template void relu_backward(const ReluBackward<double>&, cudaStream_t);
template void relu_backward(const ReluBackward<bf16>&, cudaStream_t);
template void bias_relu_backward(const BiasReluBackward<float>&, cudaStream_t);
template void bias_relu_backward(const BiasReluBackward<double>&, cudaStream_t);
template void bias_relu_backward(const BiasReluBackward<bf16>&, cudaStream_t);

template <class T>
int64_t bias_relu_backward_workspace_bytes(const BiasReluBackward<T>& a) {
  return a.dbias == nullptr ? 0 : partial_bytes(column_grid(a.rows, a.columns), a.columns);
}

template int64_t bias_relu_backward_workspace_bytes(const BiasReluBackward<float>&);
template int64_t bias_relu_backward_workspace_bytes(const BiasReluBackward<double>&);
template int64_t bias_relu_backward_workspace_bytes(const BiasReluBackward<bf16>&);

}  // namespace flyball::cuda

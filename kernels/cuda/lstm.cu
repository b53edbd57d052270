#include "kernels/lstm.h"

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/lstm_recurrence.cuh"
#include "kernels/gemm.h"

// The products over all steps at once. How their depth is cut does not depend on `time`: steps past
// the lengths then add zeros, and change no bit.
namespace flyball::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPart = 512;  // rows of a weight gradient that are summed apart

// Memory that is handed out front to back, in pieces of 16 bytes; from null it only counts.
class Pieces {
 public:
  explicit Pieces(void* memory) : begin_(static_cast<char*>(memory)) {}
  template <class T>
  T* take(int64_t count) {
    auto* piece = reinterpret_cast<T*>(begin_ + bytes_);
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16;
    return begin_ == nullptr ? nullptr : piece;
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* begin_;
  int64_t bytes_ = 0;
};

template <class T>
struct MaskTask {
  const T* x;
  const int32_t* lengths;
  T* masked;
  LstmShape shape;
};

// masked = x, with 0 past the lengths.
// registers: <= 32
template <class T>
__global__ void __launch_bounds__(kThreads) lstm_mask_kernel(MaskTask<T> mask) {
  const LstmShape& s = mask.shape;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= s.time * s.batch * s.inputs) return;
  const int64_t row = i / s.inputs;
  const bool real = row / s.batch < sequence_length(mask.lengths, row % s.batch, s.time);
  mask.masked[i] = real ? mask.x[i] : T{0};
}

constexpr int kBiasColumns = 32, kBiasRows = kThreads / kBiasColumns;

template <class T>
struct BiasTask {
  LstmTask<T> task;
  LstmGradient<T> db_ih, db_hh;
};

// Column sums of dz in f64: a thread has every kBiasRows-th row, and the threads of a column are
// added in their order.
// registers: <= 48
template <class T>
__global__ void __launch_bounds__(kThreads) lstm_bias_kernel(BiasTask<T> bias) {
  __shared__ double sums[kBiasRows][kBiasColumns];
  const LstmShape& s = bias.task.shape;
  const int64_t direction = blockIdx.y, rows = s.time * s.batch;
  const int lane = threadIdx.x % kBiasColumns, share = threadIdx.x / kBiasColumns;
  const int64_t column = int64_t{blockIdx.x} * kBiasColumns + lane;
  const T* dz = bias.task.of(direction).gates;
  double sum = 0;
  if (column < 4 * s.d) {
#pragma unroll 8
    for (int64_t row = share; row < rows; row += kBiasRows) {
      sum += static_cast<double>(dz[row * 4 * s.d + column]);
    }
  }
  sums[share][lane] = sum;
  __syncthreads();  // all shares are there
  if (share > 0 || column >= 4 * s.d) return;
  double total = 0;
  for (int i = 0; i < kBiasRows; ++i) total += sums[i][lane];
  const int64_t at = direction * 4 * s.d + column;
  const auto put = [&](const LstmGradient<T>& db) {
    if (db.to == nullptr) return;
    db.to[at] = static_cast<T>(db.accumulate ? static_cast<double>(db.to[at]) + total : total);
  };
  put(bias.db_ih);
  put(bias.db_hh);
}

// dw = dz^T rows, over all steps
template <class T>
Gemm<T> weight_product(const LstmShape& s, int64_t columns, bool accumulate) {
  return {.m = 4 * s.d,
          .n = columns,
          .k = s.time * s.batch,
          .transpose_a = true,
          .accumulate = accumulate,
          .part = kPart};
}

template <class T>
struct ForwardMemory {
  T* saved;  // where the caller keeps nothing
  void* products;
  int64_t bytes;

  explicit ForwardMemory(const LstmForward<T>& a) {
    Pieces pieces(a.workspace);
    saved = a.saved != nullptr ? a.saved : pieces.take<T>(a.shape.saved_count());
    products = pieces.take<char>(lstm_steps_workspace_bytes<T>(a.shape));
    bytes = pieces.bytes();
  }
};

template <class T>
struct BackwardMemory {
  T *dh, *dc, *masked;
  void* products;
  int64_t bytes;

  explicit BackwardMemory(const LstmBackward<T>& a) {
    const LstmShape& s = a.shape;
    Pieces pieces(a.workspace);
    dh = pieces.take<T>(s.directions * s.batch * s.d);
    dc = pieces.take<T>(s.directions * s.batch * s.d);
    const bool masks = a.lengths != nullptr && a.dw_ih.to != nullptr;
    masked = masks ? pieces.take<T>(s.time * s.batch * s.inputs) : nullptr;
    products =
        pieces.take<char>(std::max({lstm_steps_workspace_bytes<T>(s),
                                    gemm_workspace_bytes(weight_product<T>(s, s.inputs, false)),
                                    gemm_workspace_bytes(weight_product<T>(s, s.d, false))}));
    bytes = pieces.bytes();
  }
};

template <class T>
void weight_gradient(const LstmGradient<T>& dw, const LstmTask<T>& task, int64_t direction,
                     const T* rows, int64_t columns, void* workspace, cudaStream_t stream) {
  if (dw.to == nullptr) return;
  Gemm<T> product = weight_product<T>(task.shape, columns, dw.accumulate);
  product.a = task.of(direction).gates;
  product.b = rows;
  product.c = dw.to + direction * 4 * task.shape.d * columns;
  product.workspace = workspace;
  gemm(product, stream);
}

}  // namespace

template <class T>
int64_t lstm_forward_workspace_bytes(const LstmForward<T>& a) {
  return ForwardMemory<T>(a).bytes;
}

template <class T>
int64_t lstm_backward_workspace_bytes(const LstmBackward<T>& a) {
  return BackwardMemory<T>(a).bytes;
}

template <class T>
void lstm_forward(const LstmForward<T>& a, cudaStream_t stream) {
  const LstmShape& s = a.shape;
  if (s.time == 0 || s.batch == 0 || s.d == 0) return;
  const ForwardMemory<T> memory(a);
  const LstmTask<T> task{.lengths = a.lengths,
                         .w_hh = a.w_hh,
                         .b_hh = a.b_hh,
                         .saved = memory.saved,
                         .y = a.y,
                         .shape = s};
  for (int64_t direction = 0; direction < s.directions; ++direction) {
    gemm(Gemm<T>{.a = a.x,
                 .b = a.w_ih + direction * 4 * s.d * s.inputs,
                 .bias = a.b_ih == nullptr ? nullptr : a.b_ih + direction * 4 * s.d,
                 .c = task.of(direction).gates,
                 .m = s.time * s.batch,
                 .n = 4 * s.d,
                 .k = s.inputs,
                 .transpose_b = true,
                 .part = s.inputs},
         stream);
  }
  if (!lstm_persistent_forward(task, stream)) lstm_steps_forward(task, memory.products, stream);
}

template <class T>
void lstm_backward(const LstmBackward<T>& a, cudaStream_t stream) {
  const LstmShape& s = a.shape;
  if (s.time == 0 || s.batch == 0 || s.d == 0) return;
  const BackwardMemory<T> memory(a);
  const LstmTask<T> task{.lengths = a.lengths,
                         .w_hh = a.w_hh,
                         .saved = a.saved,
                         .dy = a.dy,
                         .dh = memory.dh,
                         .dc = memory.dc,
                         .shape = s};
  if (!lstm_persistent_backward(task, stream)) lstm_steps_backward(task, memory.products, stream);
  const T* x = a.x;
  if (memory.masked != nullptr) {
    const int64_t blocks = ceil_divide(s.time * s.batch * s.inputs, kThreads);
    launch(lstm_mask_kernel<T>, "lstm_mask",
           {.grid = static_cast<unsigned>(blocks), .block = kThreads}, stream,
           MaskTask<T>{a.x, a.lengths, memory.masked, s});
    x = memory.masked;
  }
  for (int64_t direction = 0; direction < s.directions; ++direction) {
    weight_gradient(a.dw_ih, task, direction, x, s.inputs, memory.products, stream);
    weight_gradient(a.dw_hh, task, direction, task.of(direction).before, s.d, memory.products,
                    stream);
    if (a.dx.to == nullptr) continue;
    gemm(Gemm<T>{.a = task.of(direction).gates,
                 .b = a.w_ih + direction * 4 * s.d * s.inputs,
                 .c = a.dx.to,
                 .m = s.time * s.batch,
                 .n = s.inputs,
                 .k = 4 * s.d,
                 .accumulate = a.dx.accumulate || direction > 0,
                 .part = 4 * s.d},
         stream);
  }
  if (a.db_ih.to == nullptr && a.db_hh.to == nullptr) return;
  launch(lstm_bias_kernel<T>, "lstm_bias",
         {.grid = dim3(static_cast<unsigned>(ceil_divide(4 * s.d, kBiasColumns)),
                       static_cast<unsigned>(s.directions)),
          .block = dim3(kThreads)},
         stream, BiasTask<T>{task, a.db_ih, a.db_hh});
}

template void lstm_forward(const LstmForward<float>&, cudaStream_t);
template void lstm_forward(const LstmForward<double>&, cudaStream_t);
template void lstm_backward(const LstmBackward<float>&, cudaStream_t);
template void lstm_backward(const LstmBackward<double>&, cudaStream_t);
template int64_t lstm_forward_workspace_bytes(const LstmForward<float>&);
template int64_t lstm_forward_workspace_bytes(const LstmForward<double>&);
template int64_t lstm_backward_workspace_bytes(const LstmBackward<float>&);
template int64_t lstm_backward_workspace_bytes(const LstmBackward<double>&);

}  // namespace flyball::cuda

#include "kernels/softmax_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

// Rows of at most 128 classes stay in the registers of a team of lanes, several rows a warp; longer
// ones are read twice by a whole block. NaN and infinite logits end as a NaN loss.
namespace flyball::cuda {
namespace {

constexpr int kTeamThreads = 1024;  // at most
constexpr int kTeamRows = 8;  // rows of a team, one after the other, before there are more blocks
constexpr int kWideThreads = 256;
constexpr int64_t kWideBlocks = 2048;  // at most; each takes every so-many-th row
constexpr int64_t kTicketBytes = 16;

// How the rows are shared out: teams of `width` lanes, or whole blocks where width is 0.
struct RowGrid {
  int width = 0;
  int threads = kWideThreads;
  int64_t blocks = 1;
};

RowGrid row_grid(int64_t rows, int64_t classes) {
  if (classes > 128) return {.blocks = std::min(rows, kWideBlocks)};
  int width = 1;
  while (width < 32 && width < classes) width *= 2;
  const int64_t lanes = 32 * ceil_divide(rows * width, 32);
  const int threads = static_cast<int>(std::min<int64_t>(lanes, kTeamThreads));
  return {width, threads, ceil_divide(rows, int64_t{kTeamRows} * (threads / width))};
}

template <class T>
struct Pass {
  SoftmaxCrossEntropy<T> operation;
  int width = 0;

  // Workspace: a ticket, then what each block found.
  __device__ uint32_t* ticket() const { return static_cast<uint32_t*>(operation.workspace); }
  __device__ double* losses() const {
    return reinterpret_cast<double*>(static_cast<char*>(operation.workspace) + kTicketBytes);
  }
  __device__ int32_t* corrects() const { return reinterpret_cast<int32_t*>(losses() + gridDim.x); }
};

// What rows add up to.
struct Found {
  double loss = 0;
  int32_t correct = 0;
};

template <class T>
__device__ T infinity() {
  return static_cast<T>(__longlong_as_double(0x7FF0000000000000));
}

// Of a row: top is the largest logit, exp_sum and logit_sum those of e^(x - top) and x - top.
template <class T>
struct Row {
  T top;
  double exp_sum, logit_sum;
};

template <class T>
__device__ double row_loss(const SoftmaxCrossEntropy<T>& a, const Row<T>& row, int64_t label,
                           T label_logit) {
  const bool known = label >= 0 && label < a.classes;
  const double logit =
      known ? static_cast<double>(label_logit - row.top) : -static_cast<double>(NAN);
  return log(row.exp_sum) - (1 - a.label_smoothing) * logit -
         a.label_smoothing / static_cast<double>(a.classes) * row.logit_sum;
}

// What dlogits are made with: e^(x - top) * scale - offset - [j == label] * label_part.
template <class T>
struct GradientParts {
  T scale, offset, label_part;
};

template <class T>
__device__ GradientParts<T> gradient_parts(const SoftmaxCrossEntropy<T>& a, double exp_sum) {
  const double rows = static_cast<double>(a.rows);
  return {static_cast<T>(1 / (exp_sum * rows)),
          static_cast<T>(a.label_smoothing / static_cast<double>(a.classes) / rows),
          static_cast<T>((1 - a.label_smoothing) / rows)};
}

// The end of every block: the losses of its rows, then of the blocks, in an order that the shape
// decides.
template <class T>
__device__ void finish(const Pass<T>& pass, const Found& of_thread) {
  const SoftmaxCrossEntropy<T>& a = pass.operation;
  double loss = block_sum(of_thread.loss);
  int32_t correct = block_sum(of_thread.correct);
  if (gridDim.x > 1) {
    if (threadIdx.x == 0) {
      pass.losses()[blockIdx.x] = loss;
      pass.corrects()[blockIdx.x] = correct;
    }
    if (!is_last_block(pass.ticket())) return;
    loss = 0;
    correct = 0;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) {
      loss += __ldcg(pass.losses() + i);
      correct += __ldcg(pass.corrects() + i);
    }
    loss = block_sum(loss);
    correct = block_sum(correct);
  }
  if (threadIdx.x == 0) {
    *a.loss = static_cast<T>(loss / static_cast<double>(a.rows));
    *a.correct = correct;
  }
}

// One row in the registers of a team: element i is in lane i % width, place i / width.
template <class T, int kPlaces>
__device__ void team_row(const Pass<T>& pass, int64_t row, bool exists, Found& found) {
  const SoftmaxCrossEntropy<T>& a = pass.operation;
  const int lane = threadIdx.x % pass.width;
  const T* logits = a.logits + row * a.classes;
  const int64_t label = exists ? a.labels[row] : -1;
  T x[kPlaces];
  T top = -infinity<T>();
#pragma unroll
  for (int k = 0; k < kPlaces; ++k) {
    const int i = lane + k * pass.width;
    x[k] = exists && i < a.classes ? logits[i] : -infinity<T>();
  }
#pragma unroll
  for (int k = 0; k < kPlaces; ++k) top = larger(x[k], top);
  top = lane_max(top, pass.width);
  double exp_sum = 0, logit_sum = 0;
  T label_logit = 0;
  int first_top = kPlaces * 32;  // the first place of the largest logit
#pragma unroll
  for (int k = kPlaces - 1; k >= 0; --k) {
    const int i = lane + k * pass.width;
    if (i >= a.classes) continue;
    if (x[k] == top) first_top = i;
    if (i == label) label_logit = x[k];
    x[k] -= top;
    logit_sum += static_cast<double>(x[k]);
    x[k] = exp(x[k]);
    exp_sum += static_cast<double>(x[k]);
  }
  exp_sum = lane_sum(exp_sum, pass.width);
  if (a.label_smoothing != 0) logit_sum = lane_sum(logit_sum, pass.width);
  for (int offset = pass.width / 2; offset > 0; offset /= 2) {
    first_top = min(first_top, __shfl_xor_sync(kAllLanes, first_top, offset));
  }
  // Zero in all lanes but the one that holds the label.
  label_logit = lane_sum(label_logit, pass.width);
  if (!exists) return;
  if (lane == 0) {
    const double smoothed_sum = a.label_smoothing != 0 ? logit_sum : 0;
    found.loss += row_loss(a, Row<T>{top, exp_sum, smoothed_sum}, label, label_logit);
    found.correct += first_top == label ? 1 : 0;
  }
  if (a.dlogits == nullptr) return;
  const GradientParts<T> parts = gradient_parts(a, exp_sum);
  T* dlogits = a.dlogits + row * a.classes;
#pragma unroll
  for (int k = 0; k < kPlaces; ++k) {
    const int i = lane + k * pass.width;
    if (i >= a.classes) continue;
    const T dx = x[k] * parts.scale - parts.offset;
    dlogits[i] = i == label ? dx - parts.label_part : dx;
  }
}

// registers: <= 64
template <class T, int kPlaces>
__global__ void __launch_bounds__(kTeamThreads) softmax_cross_entropy_kernel(Pass<T> pass) {
  const int64_t teams = blockDim.x / pass.width;
  const int64_t first = blockIdx.x * kTeamRows * teams + threadIdx.x / pass.width;
  Found found;
  for (int i = 0; i < kTeamRows; ++i) {
    const int64_t row = first + i * teams;
    team_row<T, kPlaces>(pass, row, row < pass.operation.rows, found);
  }
  finish(pass, found);
}

// e^(x - top), 0 for the smallest infinity whatever top is.
template <class T>
__device__ T exp_below(T x, T top) {
  return x == -infinity<T>() ? T{0} : exp(x - top);
}

// The online maximum and sum (Milakov & Gimelshein 2018, arXiv:1805.02867) of a row, in one read;
// each thread on its own, then all to the block's maximum.
template <class T>
__device__ Row<T> read_row(const SoftmaxCrossEntropy<T>& a, const T* x, bool aligned) {
  T top = -infinity<T>();
  double exp_sum = 0;
  for (int64_t at = 4 * threadIdx.x; at < a.classes; at += 4 * kWideThreads) {
    const Slot slot = slot_at(at, a.classes, aligned);
    Four<T> four = load(x, slot);
    T before = top;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j >= slot.count) four.at[j] = -infinity<T>();
      top = larger(four.at[j], top);
    }
    if (top > before) exp_sum *= static_cast<double>(exp(before - top));
#pragma unroll
    for (int j = 0; j < 4; ++j) exp_sum += static_cast<double>(exp_below(four.at[j], top));
  }
  Row<T> row;
  row.top = block_max(top, -infinity<T>());
  if (top < row.top) exp_sum *= static_cast<double>(exp(top - row.top));
  row.exp_sum = block_sum(exp_sum);
  row.logit_sum = 0;
  return row;
}

// The second read: dlogits and the sum of x - top.
template <class T>
__device__ double write_row(const SoftmaxCrossEntropy<T>& a, int64_t at_row, const Row<T>& row,
                            int64_t label, bool aligned) {
  const T* x = a.logits + at_row * a.classes;
  T* dx = a.dlogits + at_row * a.classes;
  const GradientParts<T> parts = gradient_parts(a, row.exp_sum);
  double logit_sum = 0;
  for (int64_t at = 4 * threadIdx.x; at < a.classes; at += 4 * kWideThreads) {
    const Slot slot = slot_at(at, a.classes, aligned);
    Four<T> four = load(x, slot);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const T below = four.at[j] - row.top;
      if (j < slot.count) logit_sum += static_cast<double>(below);
      four.at[j] = exp(below) * parts.scale - parts.offset;
      if (at + j == label) four.at[j] -= parts.label_part;
    }
    if (a.dlogits != nullptr) store(dx, slot, four);
  }
  return logit_sum;
}

// registers: <= 80
template <class T>
__global__ void __launch_bounds__(kWideThreads) softmax_cross_entropy_wide_kernel(Pass<T> pass) {
  const SoftmaxCrossEntropy<T>& a = pass.operation;
  Found found;
  for (int64_t at_row = blockIdx.x; at_row < a.rows; at_row += gridDim.x) {
    const T* x = a.logits + at_row * a.classes;
    const bool aligned =
        are_aligned(x) && (a.dlogits == nullptr || are_aligned(a.dlogits + at_row * a.classes));
    const int64_t label = a.labels[at_row];
    const bool known = label >= 0 && label < a.classes;
    const T label_logit = known ? x[label] : T{0};
    Row<T> row = read_row(a, x, aligned);
    // Whether an earlier logit is as large as the label's; nothing is written before all have read.
    int beaten = !known || label_logit != row.top;
    for (int64_t i = threadIdx.x; i < label && !beaten; i += kWideThreads) {
      if (x[i] == row.top) beaten = 1;
    }
    beaten = __syncthreads_or(beaten);
    if (a.dlogits != nullptr || a.label_smoothing != 0) {
      const double logit_sum = write_row(a, at_row, row, label, aligned);
      if (a.label_smoothing != 0) row.logit_sum = block_sum(logit_sum);
    }
    if (threadIdx.x == 0) {
      found.loss += row_loss(a, row, label, label_logit);
      found.correct += beaten ? 0 : 1;
    }
  }
  finish(pass, found);
}

}  // namespace

template <class T>
void softmax_cross_entropy(const SoftmaxCrossEntropy<T>& a, cudaStream_t stream) {
  const RowGrid grid = row_grid(a.rows, a.classes);
  const auto kernel = grid.width == 0   ? softmax_cross_entropy_wide_kernel<T>
                      : a.classes <= 32 ? softmax_cross_entropy_kernel<T, 1>
                                        : softmax_cross_entropy_kernel<T, 4>;
  if (grid.blocks > 1) {
    check(cudaMemsetAsync(a.workspace, 0, kTicketBytes, stream), "softmax_cross_entropy",
          std::source_location::current());
  }
  launch(kernel, "softmax_cross_entropy",
         {.grid = static_cast<unsigned>(grid.blocks), .block = static_cast<unsigned>(grid.threads)},
         stream, Pass<T>{a, grid.width});
}

template void softmax_cross_entropy(const SoftmaxCrossEntropy<float>&, cudaStream_t);
template void softmax_cross_entropy(const SoftmaxCrossEntropy<double>&, cudaStream_t);

template <class T>
int64_t softmax_cross_entropy_workspace_bytes(const SoftmaxCrossEntropy<T>& a) {
  const int64_t blocks = row_grid(a.rows, a.classes).blocks;
  constexpr int64_t kBlockBytes = sizeof(double) + sizeof(int32_t);
  return blocks > 1 ? kTicketBytes + blocks * kBlockBytes : 0;
}

template int64_t softmax_cross_entropy_workspace_bytes(const SoftmaxCrossEntropy<float>&);
template int64_t softmax_cross_entropy_workspace_bytes(const SoftmaxCrossEntropy<double>&);

}  // namespace flyball::cuda

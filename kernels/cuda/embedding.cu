#include "kernels/embedding.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

// Forward: a warp a token. Backward: the positions of equal tokens are brought together in their
// order by a counting sort; atomics on integers decide only where a position waits before it is
// ranked. Then a warp adds up a row's segment.
namespace flyball::cuda {
namespace {

constexpr int kThreads = 256, kRowsOfBlock = kThreads / 32;
constexpr int kScanThreads = 1024;

// registers: <= 40
template <class T>
__global__ void __launch_bounds__(kThreads) embedding_forward_kernel(EmbeddingForward<T> a) {
  const int64_t i = int64_t{blockIdx.x} * kRowsOfBlock + threadIdx.x / 32;
  if (i >= a.count) return;
  const int64_t token = a.tokens[i];
  const bool inside = token >= 0 && token < a.rows && token != a.padding;
  const bool aligned = are_aligned(a.table, a.y) && a.d % 4 == 0;
  for (int64_t j = 4 * (threadIdx.x % 32); j < a.d; j += 128) {
    const Slot slot = slot_at(j, a.d, aligned);
    store(a.y + i * a.d, slot, inside ? load(a.table + token * a.d, slot) : Four<T>{});
  }
}

// What the passes of the sort share, in the workspace.
struct Sort {
  const int32_t* tokens;
  int64_t count, rows, padding, frozen;
  int32_t* counts;   // [rows]: positions that are still to be placed
  int32_t* starts;   // [rows + 1]: where a row's segment begins
  int32_t* waiting;  // [count]: the segments' positions in any order
  int32_t* sorted;   // [count]: and in theirs

  // The row that position i trains, or -1.
  __device__ int64_t row_of(int64_t i) const {
    const int64_t token = tokens[i];
    return token < frozen || token < 0 || token >= rows || token == padding ? -1 : token;
  }
};

__device__ inline int64_t thread_index() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }

// registers: <= 24
__global__ void __launch_bounds__(kThreads) embedding_count_kernel(Sort sort) {
  const int64_t i = thread_index();
  const int64_t row = i < sort.count ? sort.row_of(i) : -1;
  if (row >= 0) atomicAdd(sort.counts + row, 1);
}

// starts = the sums of the counts before each row. One block; each thread has neighbouring rows.
// registers: <= 40
__global__ void __launch_bounds__(kScanThreads) embedding_scan_kernel(Sort sort) {
  __shared__ int32_t of_warps[kScanThreads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t each = (sort.rows + kScanThreads - 1) / kScanThreads;
  const int64_t begin = min(threadIdx.x * each, sort.rows), end = min(begin + each, sort.rows);
  int32_t total = 0;
  for (int64_t row = begin; row < end; ++row) total += sort.counts[row];
  int32_t through = total;  // of the warp's threads up to this one
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const int32_t before = __shfl_up_sync(kAllLanes, through, offset);
    if (lane >= offset) through += before;
  }
  if (lane == 31) of_warps[warp] = through;
  __syncthreads();  // the warps' totals are there
  int32_t at = through - total;
  for (int i = 0; i < warp; ++i) at += of_warps[i];
  for (int64_t row = begin; row < end; ++row) {
    sort.starts[row] = at;
    at += sort.counts[row];
  }
  if (threadIdx.x == kScanThreads - 1) sort.starts[sort.rows] = at;
}

// registers: <= 24
__global__ void __launch_bounds__(kThreads) embedding_place_kernel(Sort sort) {
  const int64_t i = thread_index();
  const int64_t row = i < sort.count ? sort.row_of(i) : -1;
  if (row < 0) return;
  const int32_t slot = atomicSub(sort.counts + row, 1) - 1;
  sort.waiting[sort.starts[row] + slot] = static_cast<int32_t>(i);
}

// A position's rank is the number of smaller ones in its segment.
// registers: <= 32
__global__ void __launch_bounds__(kThreads) embedding_rank_kernel(Sort sort) {
  const int64_t i = thread_index();
  const int64_t row = i < sort.count ? sort.row_of(i) : -1;
  if (row < 0) return;
  const int32_t begin = sort.starts[row], end = sort.starts[row + 1];
  int32_t rank = 0;
#pragma unroll 4
  for (int32_t at = begin; at < end; ++at) rank += sort.waiting[at] < i ? 1 : 0;
  sort.sorted[begin + rank] = static_cast<int32_t>(i);
}

template <class T>
struct SegmentSums {
  EmbeddingBackward<T> operation;
  const int32_t *starts, *sorted;
};

// registers: <= 64
template <class T>
__global__ void __launch_bounds__(kThreads) embedding_sum_kernel(SegmentSums<T> sums) {
  constexpr int kInFlight = 4;
  const EmbeddingBackward<T>& a = sums.operation;
  const int64_t row = int64_t{blockIdx.x} * kRowsOfBlock + threadIdx.x / 32;
  if (row >= a.rows) return;
  const int32_t begin = sums.starts[row], end = sums.starts[row + 1];
  if (a.accumulate && begin == end) return;
  const bool aligned = are_aligned(a.dy, a.dtable) && a.d % 4 == 0;
  for (int64_t column = 4 * (threadIdx.x % 32); column < a.d; column += 128) {
    const Slot slot = slot_at(column, a.d, aligned);
    Four<T> total = a.accumulate ? load(a.dtable + row * a.d, slot) : Four<T>{};
    for (int32_t at = begin; at < end; at += kInFlight) {
      Four<T> terms[kInFlight];
#pragma unroll
      for (int s = 0; s < kInFlight; ++s) {
        if (at + s < end) terms[s] = load(a.dy + int64_t{sums.sorted[at + s]} * a.d, slot);
      }
#pragma unroll
      for (int s = 0; s < kInFlight; ++s) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (at + s < end) total.at[j] += terms[s].at[j];
        }
      }
    }
    store(a.dtable + row * a.d, slot, total);
  }
}

unsigned blocks_for(int64_t count, int64_t of_block) {
  return static_cast<unsigned>(ceil_divide(count, of_block));
}

}  // namespace

template <class T>
void embedding_forward(const EmbeddingForward<T>& a, cudaStream_t stream) {
  if (a.count == 0 || a.d == 0) return;
  launch(embedding_forward_kernel<T>, "embedding_forward",
         {.grid = blocks_for(a.count, kRowsOfBlock), .block = kThreads}, stream, a);
}

template <class T>
int64_t embedding_backward_workspace_bytes(const EmbeddingBackward<T>& a) {
  return (2 * a.rows + 1 + 2 * a.count) * static_cast<int64_t>(sizeof(int32_t));
}

template <class T>
void embedding_backward(const EmbeddingBackward<T>& a, cudaStream_t stream) {
  if (a.rows == 0 || a.d == 0) return;
  auto* memory = static_cast<int32_t*>(a.workspace);
  const Sort sort{.tokens = a.tokens,
                  .count = a.count,
                  .rows = a.rows,
                  .padding = a.padding,
                  .frozen = a.frozen,
                  .counts = memory,
                  .starts = memory + a.rows,
                  .waiting = memory + 2 * a.rows + 1,
                  .sorted = memory + 2 * a.rows + 1 + a.count};
  check(cudaMemsetAsync(sort.counts, 0, static_cast<size_t>(a.rows) * sizeof(int32_t), stream),
        "embedding_backward", std::source_location::current());
  const LaunchShape positions{.grid = blocks_for(a.count, kThreads), .block = kThreads};
  if (a.count > 0) launch(embedding_count_kernel, "embedding_count", positions, stream, sort);
  launch(embedding_scan_kernel, "embedding_scan", {.grid = 1, .block = kScanThreads}, stream, sort);
  if (a.count > 0) {
    launch(embedding_place_kernel, "embedding_place", positions, stream, sort);
    launch(embedding_rank_kernel, "embedding_rank", positions, stream, sort);
  }
  launch(embedding_sum_kernel<T>, "embedding_sum",
         {.grid = blocks_for(a.rows, kRowsOfBlock), .block = kThreads}, stream,
         SegmentSums<T>{a, sort.starts, sort.sorted});
}

template void embedding_forward(const EmbeddingForward<float>&, cudaStream_t);
template void embedding_forward(const EmbeddingForward<double>&, cudaStream_t);
template void embedding_backward(const EmbeddingBackward<float>&, cudaStream_t);
template void embedding_backward(const EmbeddingBackward<double>&, cudaStream_t);
template int64_t embedding_backward_workspace_bytes(const EmbeddingBackward<float>&);
template int64_t embedding_backward_workspace_bytes(const EmbeddingBackward<double>&);

}  // namespace flyball::cuda

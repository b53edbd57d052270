// Kernels with one mistake each, and their correct twins: the simulator must report the one and
// pass the other.
#include <cstdint>

extern "C" {

// Sum over the block by halving. Without the barrier between the halves a thread reads what another
// may not have written yet.
__global__ void reduce(const float* x, float* sum, int barrier) {
  __shared__ float part[128];
  part[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  for (int half = 64; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    if (barrier) __syncthreads();
  }
  if (threadIdx.x == 0) *sum = part[0];
}

// Exchange within a warp through shared memory; needs __syncwarp.
__global__ void swap_within_warp(int* x, int synchronise) {
  __shared__ int part[32];
  part[threadIdx.x] = x[threadIdx.x];
  if (synchronise) __syncwarp();
  x[threadIdx.x] = part[31 - threadIdx.x];
}

__global__ void copy_async(const float4* x, float4* y, int wait) {
  __shared__ float4 tile[64];
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(&tile[threadIdx.x]));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(x + threadIdx.x)
               : "memory");
  asm volatile("cp.async.commit_group;" ::: "memory");
  if (wait) asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void copy_all(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i];
}

__global__ void shared_index(float* y, int shift) {
  __shared__ float part[64];
  part[threadIdx.x + shift] = 1;
  __syncthreads();
  y[threadIdx.x] = part[threadIdx.x];
}

__global__ void local_index(float* y, int n) {
  float part[8];
  for (int i = 0; i < n; ++i) part[i] = i * y[0];
  y[threadIdx.x] = part[n / 2];
}

__global__ void read_four(const float* x, float4* y, int shift) {
  y[threadIdx.x] = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + shift);
}

__global__ void divergent_barrier(int* x, int limit) {
  if (threadIdx.x < limit) __syncthreads();
  x[threadIdx.x] = 1;
}

__global__ void early_exit(int* x, int limit) {
  if (threadIdx.x >= limit) return;
  x[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] += x[0];
}

__global__ void missing_lanes(int* x, int limit) {
  if (threadIdx.x < limit) x[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFF, x[threadIdx.x], 1);
}

__global__ void one_cell(int* x, int atomic) {
  if (threadIdx.x) return;
  if (atomic)
    atomicAdd(x, 1);
  else
    *x += 1;
}

// Partial sums, added up by the block that finishes last. Needs the fence before the ticket.
__global__ void last_block(const float* x, float* partial, unsigned* ticket, float* sum,
                           int fence) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = x[blockIdx.x];
    if (fence) __threadfence();
    last = atomicAdd(ticket, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last || threadIdx.x) return;
  float s = 0;
  for (int i = 0; i < gridDim.x; ++i) s += reinterpret_cast<volatile float*>(partial)[i];
  *sum = s;
}

__global__ void uninitialised_shared(float* y, int write) {
  __shared__ float part[32];
  if (write || threadIdx.x < 31) part[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = part[31 - threadIdx.x];
}
}

// Ordinary kernels that exercise whole programs: a tiled GEMM, grid sync, calls, tables, local
// arrays.
#include <cooperative_groups.h>

#include <cassert>
#include <cstdio>

// c[m,n] = a[m,k] b[k,n] in fp32; 128x128 tiles, 8x8 a thread. m, n multiples of 128, k of 16.
extern "C" __global__ void __launch_bounds__(256)
    gemm(const float* __restrict__ a, const float* __restrict__ b, float* c, int n, int k) {
  __shared__ __align__(16) float as[16][128], bs[16][128];
  const int t = threadIdx.x, tx = t % 16, ty = t / 16, m0 = blockIdx.y * 128, n0 = blockIdx.x * 128;
  float sum[8][8] = {};
  for (int k0 = 0; k0 < k; k0 += 16) {
    for (int i = t; i < 512; i += 256) {
      const int row = i / 4, column = i % 4 * 4;
      const float4 v =
          *reinterpret_cast<const float4*>(&a[static_cast<size_t>(m0 + row) * k + k0 + column]);
      as[column][row] = v.x, as[column + 1][row] = v.y, as[column + 2][row] = v.z,
      as[column + 3][row] = v.w;
      *reinterpret_cast<float4*>(&bs[i / 32][i % 32 * 4]) = *reinterpret_cast<const float4*>(
          &b[static_cast<size_t>(k0 + i / 32) * n + n0 + i % 32 * 4]);
    }
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < 16; ++kk) {
      float x[8], y[8];
      *reinterpret_cast<float4*>(x) = *reinterpret_cast<float4*>(&as[kk][ty * 8]);
      *reinterpret_cast<float4*>(x + 4) = *reinterpret_cast<float4*>(&as[kk][ty * 8 + 4]);
      *reinterpret_cast<float4*>(y) = *reinterpret_cast<float4*>(&bs[kk][tx * 4]);
      *reinterpret_cast<float4*>(y + 4) = *reinterpret_cast<float4*>(&bs[kk][64 + tx * 4]);
      for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 8; ++j) sum[i][j] += x[i] * y[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 2; ++j)
      *reinterpret_cast<float4*>(
          &c[static_cast<size_t>(m0 + ty * 8 + i) * n + n0 + j * 64 + tx * 4]) =
          make_float4(sum[i][4 * j], sum[i][4 * j + 1], sum[i][4 * j + 2], sum[i][4 * j + 3]);
}

// y = the neighbour block's x after every block has written its own, twice.
extern "C" __global__ void grid_sync(int* x, int* y) {
  auto grid = cooperative_groups::this_grid();
  for (int round = 0; round < 2; ++round) {
    x[blockIdx.x * blockDim.x + threadIdx.x] = 1000 * round + static_cast<int>(blockIdx.x);
    grid.sync();
    y[blockIdx.x * blockDim.x + threadIdx.x] =
        x[(blockIdx.x + 1) % gridDim.x * blockDim.x + threadIdx.x];
    grid.sync();
  }
}

__device__ __noinline__ float scaled(float x, int* path) {
  if (x > 3) {
    *path = 1;
    return 2 * x;
  }
  *path = 2;
  return x + 0.5f;
}
__device__ __noinline__ float twice_scaled(float x, int* path) {
  return scaled(scaled(x, path), path) + 1;
}

__device__ __noinline__ float4 turned(float4 v, double last) {
  return make_float4(v.w, v.x, v.y, v.z + static_cast<float>(last));
}

extern "C" __global__ void calls(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int path = 0;
  y[i] = (i % 3 ? scaled(x[i], &path) : twice_scaled(x[i], &path)) + 100 * path;
  const float4 t = turned(make_float4(x[i], 1, 2, 3), 0.5);
  y[i] += t.x + t.w;
}

__constant__ int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__device__ int counter = 7;

extern "C" __global__ void branches(const int* x, int* y) {
  const int i = threadIdx.x, v = x[i];
  int r = 0;
  switch (v % 8) {
    case 0:
      r = v * 3;
      break;
    case 1:
      r = v - 5;
      break;
    case 2:
      r = v ^ 21;
      break;
    case 3:
      for (int j = 0; j < v; ++j) {
        if (j % 7 == 6) continue;
        if (j > 40) break;
        r += j;
      }
      break;
    case 4:
      r = table[v / 8 % 8];
      break;
    case 5: {
      int a[8];
      for (int j = 0; j < 8; ++j) a[j] = j * v;
      r = a[v / 8 % 8];
      break;
    }
    case 6:
      r = v / 3;
      [[fallthrough]];
    default:
      r += v % 11;
  }
  r += __popc(__activemask()) == 32 ? 100000 : 0;  // all lanes have met again
  atomicAdd(&counter, 1);
  y[i] = r + __reduce_max_sync(0xFFFFFFFF, v);
}

extern "C" __global__ void speaks(int* x) {
  if (threadIdx.x == 3) printf("thread %d of %u: %5.2f %s\n", threadIdx.x, blockDim.x, 1.5, "done");
  assert(x[threadIdx.x] < 10);
}

extern "C" __global__ void fallible(float* x) {
  x[threadIdx.x] = __fdividef(expf(x[threadIdx.x]), 1 + tanhf(x[threadIdx.x])) + rsqrtf(3.0f) +
                   sinf(x[threadIdx.x]);
}

#pragma once

#include "kernels/bf16.h"
#include "kernels/cuda/cp_async.cuh"

// One warp's product of small matrices on tensor cores (compute capability 8.0 and newer; a trap
// below):
//   c[16, 8] += a[16, K] * b[K, 8]    K: 16 bf16, or 8 f32 rounded to tf32: 32 bytes a row
// Lane l, with g = l / 4 and t = l % 4, holds registers of 32 bits, each one tf32 or two neighbours
// along K, the lower one in the lower half. In units of registers along K:
//   a[0]: row g, t     a[1]: row g + 8, t     a[2]: row g, t + 4     a[3]: row g + 8, t + 4
//   b[0]: column g, t                         b[1]: column g, t + 4
//   c[0], c[1]: row g, columns 2t, 2t + 1     c[2], c[3]: row g + 8, the same columns
namespace flyball::cuda {

template <class T>  // bf16, or float: registers that hold tf32
__device__ void multiply_add(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

template <>
__device__ inline void multiply_add<bf16>(float (&c)[4], const unsigned (&a)[4],
                                          const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

template <>
__device__ inline void multiply_add<float>(float (&c)[4], const unsigned (&a)[4],
                                           const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

// The f32 in a register rounded to 11 significant bits, ties away from zero.
__device__ inline unsigned round_to_tf32(unsigned bits) {
#if __CUDA_ARCH__ >= 800
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
#else
  __trap();
#endif
}

// Four matrices [8 rows, 16 bytes] of shared memory. Lane l gives the address of row l % 8 of
// matrix l / 8, a multiple of 16, and gets in to[i] the 4 bytes at row l / 4, byte 4 * (l % 4) of
// matrix i.
__device__ inline void load_matrices(unsigned (&to)[4], const void* row) {
#if __CUDA_ARCH__ >= 800
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
#else
  __trap();
#endif
}

// The same for matrices [8, 8] of 16-bit elements, each transposed: lane l gets elements [2 * (l %
// 4), l / 4] and [2 * (l % 4) + 1, l / 4].
__device__ inline void load_matrices_transposed(unsigned (&to)[4], const void* row) {
#if __CUDA_ARCH__ >= 800
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
#else
  __trap();
#endif
}

}  // namespace flyball::cuda

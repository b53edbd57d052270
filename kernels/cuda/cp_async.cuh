#pragma once

#include <cstdint>

// Copies from global to shared memory that run beside the thread's other work (compute capability
// 8.0 and newer; a trap below).
namespace flyball::cuda {

__device__ inline unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// 16 bytes, through the L2 alone; zeros where not `inside`: global memory is not read then. Both
// addresses are multiples of 16.
__device__ inline void copy_async(void* shared, const void* global, bool inside) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(inside ? 16 : 0)
               : "memory");
#else
  __trap();
#endif
}

// Closes the group of the copies since the last call; it may be empty.
__device__ inline void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  __trap();
#endif
}

// Waits until at most kPending of this thread's latest groups are under way. Other threads see the
// data after a barrier.
template <int kPending>
__device__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#else
  __trap();
#endif
}

}  // namespace flyball::cuda

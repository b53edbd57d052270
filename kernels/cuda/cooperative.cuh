#pragma once

#include "kernels/cuda/launch.cuh"

// Launches whose blocks wait for each other: all of them have to run at the same time.
namespace flyball::cuda {

// Whether the current device can run all blocks of the launch at once. Opts the kernel into the
// dynamic shared memory that it asks for.
template <class Arguments>
bool fits_at_once(void (*kernel)(Arguments), const char* name, const LaunchShape& shape) {
  const auto where = std::source_location::current();
  int device = 0, cooperative = 0, multiprocessors = 0, shared_limit = 0, blocks = 0;
  check(cudaGetDevice(&device), name, where);
  const auto attribute = [&](cudaDeviceAttr what, int& value) {
    check(cudaDeviceGetAttribute(&value, what, device), name, where);
  };
  attribute(cudaDevAttrCooperativeLaunch, cooperative);
  attribute(cudaDevAttrMultiProcessorCount, multiprocessors);
  attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, shared_limit);
  if (cooperative == 0 || shape.shared_bytes > shared_limit) return false;
  const auto shared = static_cast<int>(shape.shared_bytes);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared), name,
        where);
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
            &blocks, kernel, static_cast<int>(shape.block.x), static_cast<size_t>(shared)),
        name, where);
  return int64_t{shape.grid.x} * shape.grid.y * shape.grid.z <= int64_t{blocks} * multiprocessors;
}

// As launch(), for a kernel that uses cooperative_groups::grid_group, after fits_at_once().
template <class Arguments>
void launch_at_once(void (*kernel)(Arguments), const char* name, const LaunchShape& shape,
                    cudaStream_t stream, const Arguments& arguments,
                    const std::source_location& where = std::source_location::current()) {
  remember_launch(name, where);
  Arguments copy = arguments;
  void* pointers[] = {&copy};
  check(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), shape.grid, shape.block,
                                    pointers, static_cast<size_t>(shape.shared_bytes), stream),
        name, where);
}

}  // namespace flyball::cuda

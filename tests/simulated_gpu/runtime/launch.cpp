#include "tests/simulated_gpu/runtime/device.h"
#include "tests/simulated_gpu/runtime/streams.h"

namespace flyball::simulated_gpu::runtime {
namespace {

// The configuration between <<<...>>> and the stub function that launches.
struct Configuration {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
};
std::vector<Configuration>& pushed() {
  static thread_local std::vector<Configuration> pushed;
  return pushed;
}

void check_shape(dim3 grid, dim3 block) {
  const auto within = [](unsigned value, unsigned limit) { return value >= 1 && value <= limit; };
  require(within(grid.x, kMaxGrid.x) && within(grid.y, kMaxGrid.y) && within(grid.z, kMaxGrid.z) &&
              within(block.x, kMaxBlock.x) && within(block.y, kMaxBlock.y) &&
              within(block.z, kMaxBlock.z) &&
              uint64_t{block.x} * block.y * block.z <= kMaxThreadsPerBlock,
          cudaErrorInvalidConfiguration);
}

void check_resources(const Kernel& kernel, dim3 grid, dim3 block, size_t shared_bytes,
                     bool cooperative) {
  const KernelInfo& info = kernel.info();
  require(shared_bytes <= dynamic_shared_limit(kernel), cudaErrorInvalidValue);
  const unsigned threads = block.x * block.y * block.z;
  require(threads <= info.max_threads, cudaErrorLaunchOutOfResources);
  if (!cooperative) return;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  require(blocks <= uint64_t(kProcessors) * resident_blocks(kernel, threads, shared_bytes),
          cudaErrorCooperativeLaunchTooLarge);
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void* const* arguments,
                   size_t shared_bytes, cudaStream_t stream, bool cooperative) {
  static const bool blocking = environment_flag("CUDA_LAUNCH_BLOCKING", false);
  return call([&] {
    Streams::get().submit(
        stream, make_kernel_work(function, grid, block, arguments, shared_bytes, cooperative));
    return blocking ? Errors::get().sticky() : cudaSuccess;
  });
}

}  // namespace

KernelWork make_kernel_work(const void* function, dim3 grid, dim3 block, void* const* arguments,
                            size_t shared_bytes, bool cooperative) {
  Kernel& kernel = find_kernel(function);
  check_shape(grid, block);
  check_resources(kernel, grid, block, shared_bytes, cooperative);
  KernelWork work{
      &kernel, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared_bytes, cooperative, {},
      {}};
  const KernelInfo& info = kernel.info();
  for (size_t i = 0; i < info.parameter_sizes.size(); ++i) {
    const auto* bytes = static_cast<const std::byte*>(arguments[i]);
    work.arguments.emplace_back(bytes, bytes + info.parameter_sizes[i]);
  }
  return work;
}

}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier): the CUDA runtime's names
extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes,
                                     cudaStream_t stream) {
  pushed().push_back({grid, block, shared_bytes, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes,
                                       void* stream) {
  if (pushed().empty()) return cudaErrorMissingConfiguration;
  const Configuration& last = pushed().back();
  *grid = last.grid;
  *block = last.block;
  *shared_bytes = last.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  pushed().pop_back();
  return cudaSuccess;
}

// A fault in the kernel is reported at once on stderr and returned by the calls that follow, or by
// the launch itself with CUDA_LAUNCH_BLOCKING=1.
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             size_t shared_bytes, cudaStream_t stream) {
  return launch(function, grid, block, arguments, shared_bytes, stream, false);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared_bytes, cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared_bytes, stream, false);
}
cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block,
                                        void** arguments, size_t shared_bytes,
                                        cudaStream_t stream) {
  return launch(function, grid, block, arguments, shared_bytes, stream, true);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** arguments) {
  bool cooperative = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    switch (attribute.id) {
      case cudaLaunchAttributeIgnore:
      case cudaLaunchAttributePriority:
      case cudaLaunchAttributeAccessPolicyWindow:
      case cudaLaunchAttributePreferredSharedMemoryCarveout:
        break;
      case cudaLaunchAttributeCooperative:
        cooperative = attribute.val.cooperative != 0;
        break;
      case cudaLaunchAttributeClusterDimension: {
        const auto& size = attribute.val.clusterDim;
        if (uint64_t{size.x} * size.y * size.z == 1) break;
        // A device 8.0 has no clusters.
        return Errors::get().record(cudaErrorInvalidClusterSize);
      }
      default:
        return not_covered("cudaLaunchKernelExC with this launch attribute");
    }
  }
  return launch(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
                config->stream, cooperative);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier)

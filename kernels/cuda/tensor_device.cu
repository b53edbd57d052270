#include <array>
#include <atomic>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tensor_dispatch.cuh"

namespace flyball::cuda::tensor {

void require_tensor_cores(const char* what) {
  constexpr int kDevices = 64;  // that are remembered
  static std::array<std::atomic<int>, kDevices> known{};
  const auto where = std::source_location::current();
  int device = 0;
  check(cudaGetDevice(&device), what, where);
  std::atomic<int> none = 0;
  std::atomic<int>& capability = device < kDevices ? known[static_cast<size_t>(device)] : none;
  if (capability == 0) {
    int major = 0, minor = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), what, where);
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), what, where);
    capability = 10 * major + minor;
  }
  if (capability < 80) {
    throw Error(str(what, " needs a CUDA device of compute capability 8.0 or newer"));
  }
}

}  // namespace flyball::cuda::tensor

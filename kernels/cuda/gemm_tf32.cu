#include "kernels/cuda/gemm_tensor.cuh"

namespace flyball::cuda::tensor {

template int64_t gemm_workspace_bytes(const Gemm<float>&);
template void gemm(const Gemm<float>&, cudaStream_t);

}  // namespace flyball::cuda::tensor

#include "kernels/cuda/gemm_tensor.cuh"

namespace flyball::cuda::tensor {

template int64_t gemm_workspace_bytes(const Gemm<bf16>&);
template int64_t gemm_workspace_bytes(const Gemm<bf16, float>&);
template void gemm(const Gemm<bf16>&, cudaStream_t);
template void gemm(const Gemm<bf16, float>&, cudaStream_t);

}  // namespace flyball::cuda::tensor

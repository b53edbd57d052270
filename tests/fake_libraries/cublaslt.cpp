// A stand-in for libcublasLt: D = epilogue(alpha op(A) op(B) + beta C), all column-major.

#include <cublasLt.h>

#include <algorithm>
#include <cstring>

#include "tests/fake_libraries/elements.h"

using flyball::testing::element;
using flyball::testing::set_element;

namespace {

constexpr size_t kWorkspaceBytes = size_t{64} << 20;

struct Product {
  cublasComputeType_t compute;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct Layout {
  bool is_bf16;
  int64_t rows, columns, ld;
  int64_t at(int64_t row, int64_t column) const { return row + column * ld; }
};
const Layout& layout_of(cublasLtMatrixLayout_t layout) {
  return *reinterpret_cast<const Layout*>(layout);
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static int one = 0;
  *handle = reinterpret_cast<cublasLtHandle_t>(&one);
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusString(cublasStatus_t) { return "refused by the stand-in"; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
  *product = reinterpret_cast<cublasLtMatmulDesc_t>(new Product{compute});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
  delete reinterpret_cast<Product*>(product);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  auto& to = *reinterpret_cast<Product*>(product);
  const auto set = [&](auto& member) {
    if (bytes != sizeof member) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&member, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(to.a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(to.b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(to.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(to.bias);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld) {
  if (type != CUDA_R_32F && type != CUDA_R_16BF) return CUBLAS_STATUS_NOT_SUPPORTED;
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{
      type == CUDA_R_16BF, static_cast<int64_t>(rows), static_cast<int64_t>(columns), ld});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new uint64_t{0});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<uint64_t*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && bytes == sizeof(uint64_t)) {
    std::memcpy(preference, value, bytes);
  }
  return CUBLAS_STATUS_SUCCESS;
}

// Two algorithms, of which the first cannot be run, and a third that is not for this product.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* count) {
  const bool enough = *reinterpret_cast<uint64_t*>(preference) == kWorkspaceBytes;
  *count = enough ? std::min(wanted, 3) : 0;
  for (int i = 0; i < *count; ++i) {
    results[i] = {};
    results[i].algo.data[0] = static_cast<uint64_t>(i);
    if (i == 2) results[i].state = CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t bytes,
                              cudaStream_t stream) {
  const auto& p = *reinterpret_cast<const Product*>(product);
  const Layout &la = layout_of(a_layout), &lb = layout_of(b_layout), &ld = layout_of(d_layout);
  const int64_t depth = p.a == CUBLAS_OP_N ? la.columns : la.rows;
  const int64_t rows = p.a == CUBLAS_OP_N ? la.rows : la.columns;
  const int64_t columns = p.b == CUBLAS_OP_N ? lb.columns : lb.rows;
  const bool tf32 = p.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  if (algorithm->data[0] != 1) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (workspace == nullptr || bytes != kWorkspaceBytes || stream == nullptr ||
      depth != (p.b == CUBLAS_OP_N ? lb.rows : lb.columns) || rows != ld.rows ||
      columns != ld.columns || (la.is_bf16 && tf32)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (flyball::testing::is_capturing(stream)) return CUBLAS_STATUS_SUCCESS;
  const auto epilogue = static_cast<int>(p.epilogue);
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += element(a, la.is_bf16, p.a == CUBLAS_OP_N ? la.at(i, k) : la.at(k, i)) *
               element(b, lb.is_bf16, p.b == CUBLAS_OP_N ? lb.at(k, j) : lb.at(j, k));
      }
      sum *= static_cast<double>(*static_cast<const float*>(alpha));
      const auto scale = static_cast<double>(*static_cast<const float*>(beta));
      if (scale != 0) sum += scale * element(c, ld.is_bf16, ld.at(i, j));
      if ((epilogue & CUBLASLT_EPILOGUE_BIAS) != 0) sum += element(p.bias, ld.is_bf16, i);
      if ((epilogue & CUBLASLT_EPILOGUE_RELU) != 0) sum = std::max(sum, 0.0);
      set_element(d, ld.is_bf16, ld.at(i, j), sum);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

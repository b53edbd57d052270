#include "bench/peers/device_peers.h"

#if FLYBALL_HAVE_CUBLASLT

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "bench/device_timing.h"
#include "bench/peers/dynamic_library.h"
#include "framework/run.h"
#include "framework/tensor.h"
#include "kernels/copy.h"
#include "kernels/gemm.h"

namespace flyball::bench {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{64} << 20;
constexpr int kMostAlgorithms = 32;  // that are tried
constexpr uint32_t kAlignment = 64;  // of operands, what the allocator guarantees
constexpr const char* kName = "cublaslt";

struct Library {
  cublasLtHandle_t handle = nullptr;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtMatmulDescCreate) create_product;
  decltype(&cublasLtMatmulDescDestroy) destroy_product;
  decltype(&cublasLtMatmulDescSetAttribute) set_product;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmul) multiply;

  Library() {
    // f32 is multiplied as f32, not put together from bf16.
    setenv("CUBLAS_EMULATE_SINGLE_PRECISION", "0", 1);
    const DynamicLibrary file(str("libcublasLt.so.", CUBLAS_VER_MAJOR));
    decltype(&cublasLtCreate) create;
    file.find(create, "cublasLtCreate");
    file.find(status_string, "cublasLtGetStatusString");
    file.find(create_product, "cublasLtMatmulDescCreate");
    file.find(destroy_product, "cublasLtMatmulDescDestroy");
    file.find(set_product, "cublasLtMatmulDescSetAttribute");
    file.find(create_layout, "cublasLtMatrixLayoutCreate");
    file.find(destroy_layout, "cublasLtMatrixLayoutDestroy");
    file.find(create_preference, "cublasLtMatmulPreferenceCreate");
    file.find(destroy_preference, "cublasLtMatmulPreferenceDestroy");
    file.find(set_preference, "cublasLtMatmulPreferenceSetAttribute");
    file.find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    file.find(multiply, "cublasLtMatmul");
    check(create(&handle), "create");
  }
  void check(cublasStatus_t status, const char* what) const {
    if (status != CUBLAS_STATUS_SUCCESS) throw Error(str(what, ": ", status_string(status)));
  }
};

const Library& library() {
  static const Library library;
  return library;
}

template <class T>
constexpr cudaDataType kDataType = CUDA_R_32F;
template <>
constexpr cudaDataType kDataType<bf16> = CUDA_R_16BF;

// cuBLASLt's matrices are column-major: ours are their transposes, and c = a * b becomes
// c^T = b^T * a^T. Its first operand is our b, its second our a, and its bias, along the rows of
// c^T, is ours along the columns of c.
template <class T, class Out>
class Product {
 public:
  Product(const Stream& stream, const Gemm<T, Out>& g)
      : stream_(stream),
        workspace_(Tensor::empty(stream, {kWorkspaceBytes}, DType::u8)),
        beta_(g.accumulate ? 1.0F : 0.0F) {
    if (std::min({g.m, g.n, g.k}) < 1) throw Error("an empty product");
    lt_.check(
        lt_.create_product(&product_, g.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                           CUDA_R_32F),
        "product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE,
        g.bias != nullptr ? g.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
        : g.relu          ? CUBLASLT_EPILOGUE_RELU
                          : CUBLASLT_EPILOGUE_DEFAULT);
    lay_out(0, kDataType<T>, g.transpose_b ? g.k : g.n, g.transpose_b ? g.n : g.k);
    lay_out(1, kDataType<T>, g.transpose_a ? g.m : g.k, g.transpose_a ? g.k : g.m);
    lay_out(2, kDataType<Out>, g.n, g.m);
    if constexpr (std::is_same_v<Out, bf16>) {
      // Its bias has the type of its result: a copy, made once.
      if (g.bias != nullptr) {
        bias_ = Tensor::empty(stream, {g.n}, DType::bf16);
        run<nullptr, cuda::cast<float, bf16>>(
            stream,
            Cast<float, bf16>{
                .from = g.bias, .to = static_cast<bf16*>(bias_.mutable_raw()), .count = g.n});
      }
    }
    point_at_bias(g);
    choose(g);
  }
  ~Product() {
    for (cublasLtMatrixLayout_t layout : layouts_) lt_.destroy_layout(layout);
    if (product_ != nullptr) lt_.destroy_product(product_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void enqueue(const Gemm<T, Out>& g) {
    point_at_bias(g);
    lt_.check(multiply(g, algorithm_), "multiply");
  }

 private:
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    lt_.check(lt_.set_product(product_, attribute, &value, sizeof value), "attribute");
  }
  void lay_out(size_t i, cudaDataType type, int64_t rows, int64_t columns) {
    lt_.check(lt_.create_layout(&layouts_[i], type, static_cast<uint64_t>(rows),
                                static_cast<uint64_t>(columns), rows),
              "layout");
  }
  void point_at_bias(const Gemm<T, Out>& g) {
    if (g.bias == nullptr) return;
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER,
        bias_.defined() ? bias_.raw() : static_cast<const void*>(g.bias));
  }
  cublasStatus_t multiply(const Gemm<T, Out>& g, const cublasLtMatmulAlgo_t& algorithm) {
    const float alpha = 1;
    return lt_.multiply(lt_.handle, product_, &alpha, g.b, layouts_[0], g.a, layouts_[1], &beta_,
                        g.c, layouts_[2], g.c, layouts_[2], &algorithm, workspace_.mutable_raw(),
                        static_cast<size_t>(kWorkspaceBytes),
                        static_cast<cudaStream_t>(stream_.handle()));
  }

  void choose(const Gemm<T, Out>& g) {
    cublasLtMatmulPreference_t preference = nullptr;
    lt_.check(lt_.create_preference(&preference), "preference");
    const auto bytes = static_cast<uint64_t>(kWorkspaceBytes);
    lt_.set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    for (const auto operand :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      lt_.set_preference(preference, operand, &kAlignment, sizeof kAlignment);
    }
    std::array<cublasLtMatmulHeuristicResult_t, kMostAlgorithms> found{};
    int count = 0;
    const cublasStatus_t status =
        lt_.heuristic(lt_.handle, product_, layouts_[0], layouts_[1], layouts_[2], layouts_[2],
                      preference, kMostAlgorithms, found.data(), &count);
    lt_.destroy_preference(preference);
    lt_.check(status, "heuristics");
    const int best = fastest_of(stream_, count, [&](int i) {
      const cublasLtMatmulHeuristicResult_t& result = found[static_cast<size_t>(i)];
      return result.state == CUBLAS_STATUS_SUCCESS &&
             multiply(g, result.algo) == CUBLAS_STATUS_SUCCESS;
    });
    if (best < 0) throw Error("no algorithm for this product");
    algorithm_ = found[static_cast<size_t>(best)].algo;
  }

  const Library& lt_ = library();
  const Stream& stream_;
  cublasLtMatmulDesc_t product_ = nullptr;
  std::array<cublasLtMatrixLayout_t, 3> layouts_{};  // of our b, a, c
  cublasLtMatmulAlgo_t algorithm_{};
  Tensor workspace_, bias_;
  float beta_;
};

}  // namespace

DevicePeers offer_cublaslt(const Stream& stream, const std::any& arguments) {
  DevicePeers peers;
  with_held<Gemm<float>, Gemm<bf16>, Gemm<bf16, float>>(
      arguments, [&]<class T, class Out>(const Gemm<T, Out>& g) {
        peers.library = kName;
        try {
          auto product = std::make_shared<Product<T, Out>>(stream, g);
          peers.offers.push_back({kName, [product](const std::any& other) {
                                    product->enqueue(std::any_cast<const Gemm<T, Out>&>(other));
                                  }});
        } catch (const Error& error) {
          peers.absent = error.what();
        }
      });
  return peers;
}

}  // namespace flyball::bench

#else

#include "kernels/gemm.h"

namespace flyball::bench {

DevicePeers offer_cublaslt(const Stream&, const std::any& arguments) {
  DevicePeers peers;
  with_held<Gemm<float>, Gemm<bf16>, Gemm<bf16, float>>(arguments, [&](const auto&) {
    peers = {.library = "cublaslt", .absent = "built without cublasLt.h"};
  });
  return peers;
}

}  // namespace flyball::bench

#endif

// A stand-in for libcudnn: convolutions of NHWC data by filters [k, r, s, c].

#include <cudnn.h>

#include <algorithm>
#include <vector>

#include "tests/fake_libraries/elements.h"

using flyball::testing::element;
using flyball::testing::set_element;

namespace {

constexpr size_t kWorkspaceBytes = size_t{256} << 20;
constexpr auto kCapturing = static_cast<cudnnStatus_t>(-1);  // nothing is to be stored

// Of a tensor or of filters: n filters [h, w, c].
struct Dense {
  bool is_bf16 = false;
  int64_t n = 0, c = 0, h = 0, w = 0;
  int64_t at(int64_t i, int64_t row, int64_t column, int64_t channel) const {
    return ((i * h + row) * w + column) * c + channel;
  }
};
struct Window {
  int64_t padding = 0, stride = 0;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

const Dense& dense(const void* descriptor) { return *static_cast<const Dense*>(descriptor); }
const Window& window(const void* descriptor) { return *static_cast<const Window*>(descriptor); }

template <class Pointer, class Value>
cudnnStatus_t make(Pointer* pointer, Value value) {
  *pointer = reinterpret_cast<Pointer>(new Value(value));
  return CUDNN_STATUS_SUCCESS;
}
template <class Value>
cudnnStatus_t destroy(void* pointer) {
  delete static_cast<Value*>(pointer);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t describe(void* descriptor, cudnnTensorFormat_t format, cudnnDataType_t type, int n,
                       int c, int h, int w) {
  const bool known = type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_BFLOAT16;
  if (format != CUDNN_TENSOR_NHWC || !known) return CUDNN_STATUS_NOT_SUPPORTED;
  *static_cast<Dense*>(descriptor) = {type == CUDNN_DATA_BFLOAT16, n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}

// The fastest gives no repeatable sums, the second is out of the question, the third repeats.
template <class Perf>
cudnnStatus_t list(const void* convolution, int wanted, int* count, Perf* found) {
  *count = std::min(wanted, 3);
  for (int i = 0; i < *count; ++i) {
    found[i] = {};
    found[i].algo = static_cast<decltype(found[i].algo)>(i);
    found[i].status = i == 1 ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS;
    found[i].determinism = i == 0 ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
    found[i].mathType = window(convolution).math;
  }
  return CUDNN_STATUS_SUCCESS;
}

// Calls use(x index, filter index, y index) for every product of the convolution.
template <class Use>
cudnnStatus_t products(cudnnHandle_t handle, const Dense& x, const Dense& f, const Window& d,
                       const Dense& y, Use&& use) {
  if (x.n != y.n || x.c != f.c || y.c != f.n || y.h != (x.h + 2 * d.padding - f.h) / d.stride + 1 ||
      y.w != (x.w + 2 * d.padding - f.w) / d.stride + 1 || x.is_bf16 != f.is_bf16 ||
      x.is_bf16 != y.is_bf16 || (x.is_bf16 && d.math == CUDNN_FMA_MATH)) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  if (flyball::testing::is_capturing(*reinterpret_cast<cudaStream_t*>(handle))) return kCapturing;
  for (int64_t n = 0; n < y.n; ++n) {
    for (int64_t p = 0; p < y.h; ++p) {
      for (int64_t q = 0; q < y.w; ++q) {
        for (int64_t r = 0; r < f.h; ++r) {
          for (int64_t s = 0; s < f.w; ++s) {
            const int64_t row = p * d.stride + r - d.padding, column = q * d.stride + s - d.padding;
            if (row < 0 || row >= x.h || column < 0 || column >= x.w) continue;
            for (int64_t k = 0; k < f.n; ++k) {
              for (int64_t c = 0; c < x.c; ++c) {
                use(x.at(n, row, column, c), f.at(k, r, s, c), y.at(n, p, q, k));
              }
            }
          }
        }
      }
    }
  }
  return CUDNN_STATUS_SUCCESS;
}

// to = sums + beta to.
cudnnStatus_t store(cudnnStatus_t status, const std::vector<double>& sums, bool is_bf16,
                    const void* beta, void* to) {
  const auto scale = static_cast<double>(*static_cast<const float*>(beta));
  for (size_t i = 0; i < sums.size() && status == CUDNN_STATUS_SUCCESS; ++i) {
    const auto at = static_cast<int64_t>(i);
    set_element(to, is_bf16, at, sums[i] + (scale == 0 ? 0 : scale * element(to, is_bf16, at)));
  }
  return status == kCapturing ? CUDNN_STATUS_SUCCESS : status;
}

std::vector<double> zeros(const Dense& d) {
  return std::vector<double>(static_cast<size_t>(d.n * d.h * d.w * d.c));
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { return make(handle, cudaStream_t{}); }
const char* cudnnGetErrorString(cudnnStatus_t) { return "refused by the stand-in"; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  *reinterpret_cast<cudaStream_t*>(handle) = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* d) { return make(d, Dense{}); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d) { return destroy<Dense>(d); }
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t d, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  return describe(d, format, type, n, c, h, w);
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* d) { return make(d, Dense{}); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t d) { return destroy<Dense>(d); }
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t d, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  return describe(d, format, type, k, c, h, w);
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* d) {
  return make(d, Window{});
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t d) {
  return destroy<Window>(d);
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h, int pad_w,
                                              int u, int v, int, int, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t type) {
  if (mode != CUDNN_CROSS_CORRELATION || type != CUDNN_DATA_FLOAT || pad_h != pad_w || u != v) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  *reinterpret_cast<Window*>(d) = {.padding = pad_h, .stride = u};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d, cudnnMathType_t math) {
  reinterpret_cast<Window*>(d)->math = math;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t* d) {
  return make(d, false);
}
cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t d) {
  return destroy<bool>(d);
}
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t d,
                                           cudnnActivationMode_t mode, cudnnNanPropagation_t,
                                           double) {
  *reinterpret_cast<bool*>(d) = mode == CUDNN_ACTIVATION_RELU;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(
    cudnnHandle_t, const cudnnTensorDescriptor_t, const void*, const cudnnFilterDescriptor_t,
    const void*, const cudnnConvolutionDescriptor_t convolution, const cudnnTensorDescriptor_t,
    void*, const int wanted, int* count, cudnnConvolutionFwdAlgoPerf_t* found, void*,
    size_t bytes) {
  return bytes == kWorkspaceBytes ? list(convolution, wanted, count, found)
                                  : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(
    cudnnHandle_t, const cudnnFilterDescriptor_t, const void*, const cudnnTensorDescriptor_t,
    const void*, const cudnnConvolutionDescriptor_t convolution, const cudnnTensorDescriptor_t,
    void*, const int wanted, int* count, cudnnConvolutionBwdDataAlgoPerf_t* found, void*,
    size_t bytes) {
  return bytes == kWorkspaceBytes ? list(convolution, wanted, count, found)
                                  : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(
    cudnnHandle_t, const cudnnTensorDescriptor_t, const void*, const cudnnTensorDescriptor_t,
    const void*, const cudnnConvolutionDescriptor_t convolution, const cudnnFilterDescriptor_t,
    void*, const int wanted, int* count, cudnnConvolutionBwdFilterAlgoPerf_t* found, void*,
    size_t bytes) {
  return bytes == kWorkspaceBytes ? list(convolution, wanted, count, found)
                                  : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void*,
                                      const cudnnTensorDescriptor_t x, const void* x_data,
                                      const cudnnFilterDescriptor_t f, const void* f_data,
                                      const cudnnConvolutionDescriptor_t d,
                                      cudnnConvolutionFwdAlgo_t, void*, size_t, const void* beta,
                                      const cudnnTensorDescriptor_t y, void* y_data) {
  const bool half = dense(x).is_bf16;
  std::vector<double> sums = zeros(dense(y));
  const cudnnStatus_t status = products(
      handle, dense(x), dense(f), window(d), dense(y), [&](int64_t xi, int64_t fi, int64_t yi) {
        sums[static_cast<size_t>(yi)] += element(x_data, half, xi) * element(f_data, half, fi);
      });
  return store(status, sums, half, beta, y_data);
}

cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t handle, const void*, const cudnnTensorDescriptor_t x, const void* x_data,
    const cudnnFilterDescriptor_t f, const void* f_data, const cudnnConvolutionDescriptor_t d,
    cudnnConvolutionFwdAlgo_t, void*, size_t, const void* beta, const cudnnTensorDescriptor_t,
    const void*, const cudnnTensorDescriptor_t bias, const void* bias_data,
    const cudnnActivationDescriptor_t activation, const cudnnTensorDescriptor_t y, void* y_data) {
  const bool half = dense(x).is_bf16, relu = *reinterpret_cast<const bool*>(activation);
  if (dense(bias).c != dense(y).c || dense(bias).is_bf16 != half) return CUDNN_STATUS_BAD_PARAM;
  std::vector<double> sums = zeros(dense(y));
  const cudnnStatus_t status = products(
      handle, dense(x), dense(f), window(d), dense(y), [&](int64_t xi, int64_t fi, int64_t yi) {
        sums[static_cast<size_t>(yi)] += element(x_data, half, xi) * element(f_data, half, fi);
      });
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i] += element(bias_data, half, static_cast<int64_t>(i) % dense(y).c);
    if (relu) sums[i] = std::max(sums[i], 0.0);
  }
  return store(status, sums, half, beta, y_data);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void*,
                                           const cudnnFilterDescriptor_t f, const void* f_data,
                                           const cudnnTensorDescriptor_t y, const void* y_data,
                                           const cudnnConvolutionDescriptor_t d,
                                           cudnnConvolutionBwdDataAlgo_t, void*, size_t,
                                           const void* beta, const cudnnTensorDescriptor_t x,
                                           void* x_data) {
  const bool half = dense(x).is_bf16;
  std::vector<double> sums = zeros(dense(x));
  const cudnnStatus_t status = products(
      handle, dense(x), dense(f), window(d), dense(y), [&](int64_t xi, int64_t fi, int64_t yi) {
        sums[static_cast<size_t>(xi)] += element(y_data, half, yi) * element(f_data, half, fi);
      });
  return store(status, sums, half, beta, x_data);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void*,
                                             const cudnnTensorDescriptor_t x, const void* x_data,
                                             const cudnnTensorDescriptor_t y, const void* y_data,
                                             const cudnnConvolutionDescriptor_t d,
                                             cudnnConvolutionBwdFilterAlgo_t, void*, size_t,
                                             const void* beta, const cudnnFilterDescriptor_t f,
                                             void* f_data) {
  const bool half = dense(x).is_bf16;
  std::vector<double> sums = zeros(dense(f));
  const cudnnStatus_t status = products(
      handle, dense(x), dense(f), window(d), dense(y), [&](int64_t xi, int64_t fi, int64_t yi) {
        sums[static_cast<size_t>(fi)] += element(x_data, half, xi) * element(y_data, half, yi);
      });
  return store(status, sums, half, beta, f_data);
}

}  // extern "C"

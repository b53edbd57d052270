#include "kernels/cpu/matrix_product.h"

// Our own pool divides the work.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>
#include <algorithm>
#include <type_traits>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/simd.h"

namespace flyball::cpu {
namespace {

template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using ConstMap = Eigen::Map<const RowMajor<T>, 0, Eigen::OuterStride<>>;

template <class T, class A, class B>
void assign_product(const MatrixProduct<T>& p, const A& a, const B& b) {
  Eigen::Map<RowMajor<T>, 0, Eigen::OuterStride<>> c(p.c, p.m, p.n, Eigen::OuterStride<>(p.ldc));
  if (p.accumulate) {
    c.noalias() += a * b;
  } else {
    c.noalias() = a * b;
  }
}

template <class T, class A>
void choose_b(const MatrixProduct<T>& p, const A& a) {
  const Eigen::OuterStride<> stride(p.ldb);
  if (p.transpose_b) {
    assign_product(p, a, ConstMap<T>(p.b, p.n, p.k, stride).transpose());
  } else {
    assign_product(p, a, ConstMap<T>(p.b, p.k, p.n, stride));
  }
}

template <class T>
void multiply_by_eigen(const MatrixProduct<T>& p) {
  const Eigen::OuterStride<> stride(p.lda);
  if (p.transpose_a) {
    choose_b(p, ConstMap<T>(p.a, p.k, p.m, stride).transpose());
  } else {
    choose_b(p, ConstMap<T>(p.a, p.m, p.k, stride));
  }
}

template <class T>
FLYBALL_INLINE void add_bias_relu_body(T* c, int64_t ldc, const T* bias, int64_t m, int64_t n,
                                       bool relu) {
  for (int64_t i = 0; i < m; ++i, c += ldc) {
    if (bias != nullptr && relu) {
      for (int64_t j = 0; j < n; ++j) {
        const T v = c[j] + bias[j];
        c[j] = v < 0 ? T(0) : v;
      }
    } else if (bias != nullptr) {
      for (int64_t j = 0; j < n; ++j) c[j] += bias[j];
    } else if (relu) {
      for (int64_t j = 0; j < n; ++j) c[j] = c[j] < 0 ? T(0) : c[j];
    }
  }
}

template <class T>
FLYBALL_INLINE void add_to_body(T* y, const T* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] += x[i];
}

}  // namespace

template <class T>
void multiply(const MatrixProduct<T>& p) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    if (!p.accumulate) {
      for (int64_t i = 0; i < p.m; ++i) std::fill_n(p.c + i * p.ldc, p.n, T(0));
    }
    return;
  }
  if constexpr (std::is_same_v<T, float> && FLYBALL_HAVE_ONEDNN) {
    if (backend() == Backend::kOneDnn) return onednn::multiply(p);
  }
  multiply_by_eigen(p);
}

template <>
FLYBALL_SIMD void add_bias_relu(float* c, int64_t ldc, const float* bias, int64_t m, int64_t n,
                                bool relu) {
  add_bias_relu_body(c, ldc, bias, m, n, relu);
}
template <>
void add_bias_relu(double* c, int64_t ldc, const double* bias, int64_t m, int64_t n, bool relu) {
  add_bias_relu_body(c, ldc, bias, m, n, relu);
}

template <>
FLYBALL_SIMD void add_to(float* y, const float* x, int64_t count) {
  add_to_body(y, x, count);
}
template <>
void add_to(double* y, const double* x, int64_t count) {
  add_to_body(y, x, count);
}

template void multiply(const MatrixProduct<float>&);
template void multiply(const MatrixProduct<double>&);

}  // namespace flyball::cpu

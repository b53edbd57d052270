#pragma once

#include <cstdint>

namespace flyball::cpu {

// c = op(a) * op(b), or c += with accumulate, on the calling thread. op(a): [m, k], op(b): [k, n],
// c: [m, n], row-major; lda, ldb, ldc are the distances between stored rows. Any size may be zero.
template <class T>
struct MatrixProduct {
  const T* a = nullptr;
  const T* b = nullptr;
  T* c = nullptr;
  int64_t lda = 0, ldb = 0, ldc = 0;
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
};

// float: by oneDNN where that is the backend; else Eigen.
template <class T>
void multiply(const MatrixProduct<T>&);

// c[i,j] = relu?(c[i,j] + bias[j]?) over [m, n] with rows ldc apart. NaN stays NaN.
template <class T>
void add_bias_relu(T* c, int64_t ldc, const T* bias, int64_t m, int64_t n, bool relu);

// y[i] += x[i]
template <class T>
void add_to(T* y, const T* x, int64_t count);

}  // namespace flyball::cpu

#include "framework/bias_relu_gradient.h"
#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/gemm.h"

namespace flyball {
namespace {

// c (+)= op(a) op(b) into a gradient's destination.
template <class T>
void gemm_into(const Stream& stream, GradientTarget target, const T* a, bool transpose_a,
               const T* b, bool transpose_b, int64_t m, int64_t n, int64_t k) {
  run<cpu::gemm<T>, cuda::gemm<T>>(stream, Gemm<T>{.a = a,
                                                   .b = b,
                                                   .c = target.tensor.mutable_data<T>(),
                                                   .m = m,
                                                   .n = n,
                                                   .k = k,
                                                   .transpose_a = transpose_a,
                                                   .transpose_b = transpose_b,
                                                   .accumulate = target.accumulate});
}

}  // namespace

Variable matmul(const Context& context, const Variable& a, const Variable& b) {
  check_real("matmul: a", a.dtype());
  check_rank("matmul: a", a.shape(), 2);
  const int64_t m = a.shape()[0], k = a.shape()[1];
  check_rank("matmul: b", b.shape(), 2);
  const int64_t n = b.shape()[1];
  check_shape("matmul: b", b.shape(), {k, n}, "rows as a has columns");
  check_dtype("matmul: b", b.dtype(), a.dtype());
  Tensor y = Tensor::empty(context.stream, {m, n}, a.dtype());
  dispatch_real(a.dtype(), "matmul", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::gemm<T>, cuda::gemm<T>>(context.stream, Gemm<T>{.a = a.value().data<T>(),
                                                             .b = b.value().data<T>(),
                                                             .c = y.mutable_data<T>(),
                                                             .m = m,
                                                             .n = n,
                                                             .k = k});
  });
  return Variable::result(
      y, "matmul", {&a, &b},
      [m, n, k, a = SavedTensor(a.value(), "matmul: a"),
       b = SavedTensor(b.value(), "matmul: b")](Gradients& gradients) {
        dispatch_real(gradients.dy().dtype(), "matmul", [&](auto zero) {
          using T = decltype(zero);
          const T* dy = gradients.dy().data<T>();
          const Stream& stream = gradients.stream();
          if (gradients.wants(0)) {
            gemm_into<T>(stream, gradients.target(0), dy, false, b.get().data<T>(), true, m, k, n);
          }
          if (gradients.wants(1)) {
            gemm_into<T>(stream, gradients.target(1), a.get().data<T>(), true, dy, false, k, n, m);
          }
        });
      });
}

Variable linear(const Context& context, const Variable& x, const Variable& weight,
                const Variable& bias, bool relu) {
  check_real("linear: x", x.dtype());
  check_rank("linear: x", x.shape(), 2);
  const int64_t m = x.shape()[0], k = x.shape()[1];
  check_rank("linear: weight", weight.shape(), 2);
  const int64_t n = weight.shape()[0];
  check_shape("linear: weight", weight.shape(), {n, k}, "columns as x has");
  check_dtype("linear: weight", weight.dtype(), x.dtype());
  if (bias.defined()) {
    check_shape("linear: bias", bias.shape(), {n}, "rows of weight");
    check_dtype("linear: bias", bias.dtype(), x.dtype());
  }
  Tensor y = Tensor::empty(context.stream, {m, n}, x.dtype());
  dispatch_real(x.dtype(), "linear", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::gemm<T>, cuda::gemm<T>>(context.stream, Gemm<T>{.a = x.value().data<T>(),
                                                             .b = weight.value().data<T>(),
                                                             .bias = data_or_null<T>(bias),
                                                             .c = y.mutable_data<T>(),
                                                             .m = m,
                                                             .n = n,
                                                             .k = k,
                                                             .transpose_b = true,
                                                             .relu = relu});
  });
  return Variable::result(
      y, "linear", {&x, &weight, &bias},
      [m, n, k, relu, x = SavedTensor(x.value(), "linear: x"),
       y = relu ? SavedTensor(y, "linear: y") : SavedTensor(),
       weight = SavedTensor(weight.value(), "linear: weight")](Gradients& gradients) {
        dispatch_real(gradients.dy().dtype(), "linear", [&](auto zero) {
          using T = decltype(zero);
          const Stream& stream = gradients.stream();
          const Tensor dz = bias_relu_gradient<T>(gradients, relu ? &y.get() : nullptr, 2, m, n);
          if (gradients.wants(0)) {
            gemm_into<T>(stream, gradients.target(0), dz.data<T>(), false, weight.get().data<T>(),
                         false, m, k, n);
          }
          if (gradients.wants(1)) {
            gemm_into<T>(stream, gradients.target(1), dz.data<T>(), true, x.get().data<T>(), false,
                         n, k, m);
          }
        });
      });
}

}  // namespace flyball

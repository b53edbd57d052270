#include "framework/bias_relu_gradient.h"
#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/gemm.h"

namespace flyball {
namespace {

// c (+)= op(a) op(b) into a gradient's destination, which is of the dtype of what it is the
// gradient of: f32 beside bf16 operands where that was f32 before it was rounded.
template <class T>
void gemm_into(const Stream& stream, GradientTarget target, const T* a, bool transpose_a,
               const T* b, bool transpose_b, int64_t m, int64_t n, int64_t k, bool tf32) {
  const auto into = [&](auto zero) {
    using Out = decltype(zero);
    const Gemm<T, Out> product{.a = a,
                               .b = b,
                               .c = target.tensor.mutable_data<Out>(),
                               .m = m,
                               .n = n,
                               .k = k,
                               .transpose_a = transpose_a,
                               .transpose_b = transpose_b,
                               .accumulate = target.accumulate,
                               .tf32 = tf32};
    if constexpr (std::is_same_v<T, bf16>) {
      run<nullptr, cuda::gemm<T, Out>>(stream, product);
    } else {
      run<cpu::gemm<T>, cuda::gemm<T, Out>>(stream, product);
    }
  };
  if (target.tensor.dtype() == dtype_of<T>()) return into(T{});
  into(Accumulator<T>{});
}

}  // namespace

Variable matmul(const Context& context, const Variable& a, const Variable& b) {
  check_precision(context.precision, context.stream.device());
  check_multiplied("matmul: a", a.dtype(), context.precision);
  check_rank("matmul: a", a.shape(), 2);
  const int64_t m = a.shape()[0], k = a.shape()[1];
  check_rank("matmul: b", b.shape(), 2);
  const int64_t n = b.shape()[1];
  check_shape("matmul: b", b.shape(), {k, n}, "rows as a has columns");
  if (context.precision == Precision::bf16) {
    check_multiplied("matmul: b", b.dtype(), context.precision);
  } else {
    check_dtype("matmul: b", b.dtype(), a.dtype());
  }
  const bool tf32 = context.precision == Precision::tf32;
  const Tensor a_value = multiplied(context, a.value()), b_value = multiplied(context, b.value());
  Tensor y = Tensor::empty(context.stream, {m, n}, a_value.dtype());
  dispatch_float(y.dtype(), "matmul", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::gemm<T>, cuda::gemm<T>>(context.stream, Gemm<T>{.a = a_value.data<T>(),
                                                             .b = b_value.data<T>(),
                                                             .c = y.mutable_data<T>(),
                                                             .m = m,
                                                             .n = n,
                                                             .k = k,
                                                             .tf32 = tf32});
  });
  return Variable::result(
      y, "matmul", {&a, &b},
      [m, n, k, tf32, a = SavedTensor(a_value, "matmul: a"),
       b = SavedTensor(b_value, "matmul: b")](Gradients& gradients) {
        dispatch_float(gradients.dy().dtype(), "matmul", [&](auto zero) {
          using T = decltype(zero);
          const T* dy = gradients.dy().data<T>();
          const Stream& stream = gradients.stream();
          if (gradients.wants(0)) {
            gemm_into<T>(stream, gradients.target(0), dy, false,
                         b.get(gradients.stream()).data<T>(), true, m, k, n, tf32);
          }
          if (gradients.wants(1)) {
            gemm_into<T>(stream, gradients.target(1), a.get(gradients.stream()).data<T>(), true, dy,
                         false, k, n, m, tf32);
          }
        });
      });
}

Variable linear(const Context& context, const Variable& x, const Variable& weight,
                const Variable& bias, bool relu) {
  check_precision(context.precision, context.stream.device());
  check_multiplied("linear: x", x.dtype(), context.precision);
  check_rank("linear: x", x.shape(), 2);
  const int64_t m = x.shape()[0], k = x.shape()[1];
  check_rank("linear: weight", weight.shape(), 2);
  const int64_t n = weight.shape()[0];
  check_shape("linear: weight", weight.shape(), {n, k}, "columns as x has");
  check_parameter("linear: weight", weight.dtype(), x.dtype());
  if (bias.defined()) {
    check_shape("linear: bias", bias.shape(), {n}, "rows of weight");
    check_parameter("linear: bias", bias.dtype(), x.dtype());
  }
  const bool tf32 = context.precision == Precision::tf32;
  const Tensor x_value = multiplied(context, x.value());
  const Tensor weight_value = multiplied(context, weight.value());
  Tensor y = Tensor::empty(context.stream, {m, n}, x_value.dtype());
  dispatch_float(y.dtype(), "linear", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::gemm<T>, cuda::gemm<T>>(context.stream,
                                     Gemm<T>{.a = x_value.data<T>(),
                                             .b = weight_value.data<T>(),
                                             .bias = data_or_null<Accumulator<T>>(bias),
                                             .c = y.mutable_data<T>(),
                                             .m = m,
                                             .n = n,
                                             .k = k,
                                             .transpose_b = true,
                                             .relu = relu,
                                             .tf32 = tf32});
  });
  return Variable::result(
      y, "linear", {&x, &weight, &bias},
      [m, n, k, relu, tf32, x = SavedTensor(x_value, "linear: x"),
       y = relu ? SavedTensor(y, "linear: y") : SavedTensor(),
       weight = SavedTensor(weight_value, "linear: weight")](Gradients& gradients) {
        dispatch_float(gradients.dy().dtype(), "linear", [&](auto zero) {
          using T = decltype(zero);
          const Stream& stream = gradients.stream();
          const Tensor dz = bias_relu_gradient<T>(
              gradients, relu ? &y.get(gradients.stream()) : nullptr, 2, m, n);
          if (gradients.wants(0)) {
            gemm_into<T>(stream, gradients.target(0), dz.data<T>(), false,
                         weight.get(gradients.stream()).data<T>(), false, m, k, n, tf32);
          }
          if (gradients.wants(1)) {
            gemm_into<T>(stream, gradients.target(1), dz.data<T>(), true,
                         x.get(gradients.stream()).data<T>(), false, n, k, m, tf32);
          }
        });
      });
}

}  // namespace flyball

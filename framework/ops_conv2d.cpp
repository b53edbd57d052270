#include "framework/bias_relu_gradient.h"
#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/conv2d.h"

namespace flyball {
namespace {

Conv2dShape checked_shape(const Context& context, const Variable& x, const Variable& filters,
                          const Variable& bias, const Conv2dOptions& options) {
  check_precision(context.precision, context.stream.device());
  check_multiplied("conv2d: x", x.dtype(), context.precision);
  check_rank("conv2d: x", x.shape(), 4);
  check_rank("conv2d: filters", filters.shape(), 4);
  const Conv2dShape shape{.n = x.shape()[0],
                          .h = x.shape()[1],
                          .w = x.shape()[2],
                          .c = x.shape()[3],
                          .k = filters.shape()[0],
                          .r = filters.shape()[1],
                          .s = filters.shape()[2],
                          .stride = options.stride,
                          .padding = options.padding};
  check_shape("conv2d: filters", filters.shape(), {shape.k, shape.r, shape.s, shape.c},
              "last axis as the channels of x");
  check_parameter("conv2d: filters", filters.dtype(), x.dtype());
  if (bias.defined()) {
    check_shape("conv2d: bias", bias.shape(), {shape.k}, "number of filters");
    check_parameter("conv2d: bias", bias.dtype(), x.dtype());
  }
  if (options.stride < 1 || options.padding < 0) {
    throw Error(str("conv2d: stride ", options.stride, " and padding ", options.padding,
                    ", expected at least 1 and at least 0"));
  }
  if (shape.r < 1 || shape.s < 1 || shape.h + 2 * shape.padding < shape.r ||
      shape.w + 2 * shape.padding < shape.s) {
    throw Error(str("conv2d: filters have shape ", filters.shape(), ", larger than x ", x.shape(),
                    " with padding ", shape.padding));
  }
  return shape;
}

}  // namespace

Variable conv2d(const Context& context, const Variable& x, const Variable& filters,
                const Variable& bias, const Conv2dOptions& options) {
  return conv2d(context, x, filters, bias, options, nullptr);
}

Variable conv2d(const Context& context, const Variable& input, const Variable& filters,
                const Variable& bias, const Conv2dOptions& options, Tensor* column_sums) {
  const Conv2dShape shape = checked_shape(context, input, filters, bias, options);
  const bool tf32 = context.precision == Precision::tf32;
  const Variable x =
      context.precision == Precision::bf16 ? cast(context, input, DType::bf16) : input;
  const Tensor filters_value = multiplied(context, filters.value());
  Tensor y = Tensor::empty(context.stream, {shape.n, shape.p(), shape.q(), shape.k}, x.dtype());
  dispatch_float(x.dtype(), "conv2d", [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    if (column_sums != nullptr) {
      *column_sums =
          Tensor::empty(context.stream, {column_sum_tiles(shape), 2, shape.k}, dtype_of<A>());
    }
    run<cpu::conv2d_forward<T>, cuda::conv2d_forward<T>>(
        context.stream,
        Conv2dForward<T>{
            .x = x.value().data<T>(),
            .filters = filters_value.data<T>(),
            .bias = data_or_null<A>(bias),
            .y = y.mutable_data<T>(),
            .column_sums = column_sums != nullptr ? column_sums->mutable_data<A>() : nullptr,
            .shape = shape,
            .relu = options.relu,
            .tf32 = tf32});
  });
  return Variable::result(
      y, "conv2d", {&x, &filters, &bias},
      [shape, tf32, relu = options.relu, x = SavedTensor(x, "conv2d: x"),
       filters = SavedTensor(filters_value, "conv2d: filters"),
       y = options.relu ? SavedTensor(y, "conv2d: y") : SavedTensor()](Gradients& gradients) {
        dispatch_float(gradients.dy().dtype(), "conv2d", [&](auto zero) {
          using T = decltype(zero);
          const Stream& stream = gradients.stream();
          const Tensor dz =
              bias_relu_gradient<T>(gradients, relu ? &y.get(gradients.stream()) : nullptr, 2,
                                    shape.n * shape.p() * shape.q(), shape.k);
          if (gradients.wants(0)) {
            GradientTarget dx = gradients.target(0);
            run<cpu::conv2d_backward_data<T>, cuda::conv2d_backward_data<T>>(
                stream, Conv2dBackwardData<T>{.dy = dz.data<T>(),
                                              .filters = filters.get(gradients.stream()).data<T>(),
                                              .dx = dx.tensor.mutable_data<T>(),
                                              .shape = shape,
                                              .accumulate = dx.accumulate,
                                              .tf32 = tf32});
          }
          if (gradients.wants(1)) {
            GradientTarget dfilters = gradients.target(1);
            run<cpu::conv2d_backward_weights<T>, cuda::conv2d_backward_weights<T>>(
                stream,
                Conv2dBackwardWeights<T>{.x = x.get(gradients.stream()).data<T>(),
                                         .dy = dz.data<T>(),
                                         .dfilters = dfilters.tensor.mutable_data<Accumulator<T>>(),
                                         .shape = shape,
                                         .accumulate = dfilters.accumulate,
                                         .tf32 = tf32});
          }
        });
      });
}

}  // namespace flyball

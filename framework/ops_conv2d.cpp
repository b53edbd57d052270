#include "framework/bias_relu_gradient.h"
#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/conv2d.h"

namespace flyball {
namespace {

Conv2dShape checked_shape(const Variable& x, const Variable& filters, const Variable& bias,
                          const Conv2dOptions& options) {
  check_real("conv2d: x", x.dtype());
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
  check_dtype("conv2d: filters", filters.dtype(), x.dtype());
  if (bias.defined()) {
    check_shape("conv2d: bias", bias.shape(), {shape.k}, "number of filters");
    check_dtype("conv2d: bias", bias.dtype(), x.dtype());
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
  const Conv2dShape shape = checked_shape(x, filters, bias, options);
  Tensor y = Tensor::empty(context.stream, {shape.n, shape.p(), shape.q(), shape.k}, x.dtype());
  dispatch_real(x.dtype(), "conv2d", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::conv2d_forward<T>, cuda::conv2d_forward<T>>(
        context.stream, Conv2dForward<T>{.x = x.value().data<T>(),
                                         .filters = filters.value().data<T>(),
                                         .bias = data_or_null<T>(bias),
                                         .y = y.mutable_data<T>(),
                                         .shape = shape,
                                         .relu = options.relu});
  });
  return Variable::result(
      y, "conv2d", {&x, &filters, &bias},
      [shape, relu = options.relu, x = SavedTensor(x.value(), "conv2d: x"),
       filters = SavedTensor(filters.value(), "conv2d: filters"),
       y = options.relu ? SavedTensor(y, "conv2d: y") : SavedTensor()](Gradients& gradients) {
        dispatch_real(gradients.dy().dtype(), "conv2d", [&](auto zero) {
          using T = decltype(zero);
          const Stream& stream = gradients.stream();
          const Tensor dz = bias_relu_gradient<T>(gradients, relu ? &y.get() : nullptr, 2,
                                                  shape.n * shape.p() * shape.q(), shape.k);
          if (gradients.wants(0)) {
            GradientTarget dx = gradients.target(0);
            run<cpu::conv2d_backward_data<T>, cuda::conv2d_backward_data<T>>(
                stream, Conv2dBackwardData<T>{.dy = dz.data<T>(),
                                              .filters = filters.get().data<T>(),
                                              .dx = dx.tensor.mutable_data<T>(),
                                              .shape = shape,
                                              .accumulate = dx.accumulate});
          }
          if (gradients.wants(1)) {
            GradientTarget dfilters = gradients.target(1);
            run<cpu::conv2d_backward_weights<T>, cuda::conv2d_backward_weights<T>>(
                stream, Conv2dBackwardWeights<T>{.x = x.get().data<T>(),
                                                 .dy = dz.data<T>(),
                                                 .dfilters = dfilters.tensor.mutable_data<T>(),
                                                 .shape = shape,
                                                 .accumulate = dfilters.accumulate});
          }
        });
      });
}

}  // namespace flyball

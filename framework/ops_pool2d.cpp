#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/pool2d.h"

namespace flyball {
namespace {

Pool2dShape checked_shape(const char* operation, const Variable& x, const Pool2dOptions& options) {
  check_float(operation, x);
  if (x.shape().rank() != 4) {
    throw Error(str(operation, ": x has shape ", x.shape(), ", expected 4 axes"));
  }
  const Pool2dShape shape{.n = x.shape()[0],
                          .h = x.shape()[1],
                          .w = x.shape()[2],
                          .c = x.shape()[3],
                          .window = options.window,
                          .stride = options.stride,
                          .padding = options.padding};
  if (shape.window < 1 || shape.window > 15 || shape.stride < 1 || shape.padding < 0 ||
      2 * shape.padding > shape.window) {
    throw Error(str(operation, ": window ", shape.window, ", stride ", shape.stride, ", padding ",
                    shape.padding,
                    ", expected window 1..15, stride at least 1, padding at most half the window"));
  }
  if (shape.h + 2 * shape.padding < shape.window || shape.w + 2 * shape.padding < shape.window) {
    throw Error(str(operation, ": window ", shape.window, " is larger than x ", x.shape(),
                    " with padding ", shape.padding));
  }
  return shape;
}

}  // namespace

Variable max_pool2d(const Context& context, const Variable& x, const Pool2dOptions& options) {
  const Pool2dShape shape = checked_shape("max_pool2d", x, options);
  const Shape y_shape{shape.n, shape.p(), shape.q(), shape.c};
  Tensor y = Tensor::empty(context.stream, y_shape, x.dtype());
  Tensor argmax;
  if (x.requires_gradient() && gradients_enabled())
    argmax = Tensor::empty(context.stream, y_shape, DType::u8);
  dispatch_float(x.dtype(), "max_pool2d", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::max_pool2d_forward<T>, cuda::max_pool2d_forward<T>>(
        context.stream,
        MaxPool2dForward<T>{.x = x.value().data<T>(),
                            .y = y.mutable_data<T>(),
                            .argmax = argmax.defined() ? argmax.mutable_data<uint8_t>() : nullptr,
                            .shape = shape,
                            .relu = options.relu});
  });
  return Variable::result(y, "max_pool2d", {&x}, [shape, argmax](Gradients& gradients) {
    dispatch_float(gradients.dy().dtype(), "max_pool2d", [&](auto zero) {
      using T = decltype(zero);
      GradientTarget dx = gradients.target(0);
      run<cpu::max_pool2d_backward<T>, cuda::max_pool2d_backward<T>>(
          gradients.stream(), MaxPool2dBackward<T>{.dy = gradients.dy().data<T>(),
                                                   .argmax = argmax.data<uint8_t>(),
                                                   .dx = dx.tensor.mutable_data<T>(),
                                                   .shape = shape,
                                                   .accumulate = dx.accumulate});
    });
  });
}

Variable average_pool2d(const Context& context, const Variable& x, const Pool2dOptions& options) {
  const Pool2dShape shape = checked_shape("average_pool2d", x, options);
  if (options.relu) throw Error("average_pool2d: relu is for max pooling only");
  Tensor y = Tensor::empty(context.stream, {shape.n, shape.p(), shape.q(), shape.c}, x.dtype());
  dispatch_float(x.dtype(), "average_pool2d", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::average_pool2d_forward<T>, cuda::average_pool2d_forward<T>>(
        context.stream, AveragePool2dForward<T>{
                            .x = x.value().data<T>(), .y = y.mutable_data<T>(), .shape = shape});
  });
  return Variable::result(y, "average_pool2d", {&x}, [shape](Gradients& gradients) {
    dispatch_float(gradients.dy().dtype(), "average_pool2d", [&](auto zero) {
      using T = decltype(zero);
      GradientTarget dx = gradients.target(0);
      run<cpu::average_pool2d_backward<T>, cuda::average_pool2d_backward<T>>(
          gradients.stream(), AveragePool2dBackward<T>{.dy = gradients.dy().data<T>(),
                                                       .dx = dx.tensor.mutable_data<T>(),
                                                       .shape = shape,
                                                       .accumulate = dx.accumulate});
    });
  });
}

Variable global_average_pool(const Context& context, const Variable& x) {
  check_float("global_average_pool: x", x);
  check_rank("global_average_pool: x", x.shape(), 4);
  const int64_t n = x.shape()[0], pixels = x.shape()[1] * x.shape()[2], c = x.shape()[3];
  Tensor y = Tensor::empty(context.stream, {n, c}, x.dtype());
  dispatch_float(x.dtype(), "global_average_pool", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::global_average_pool_forward<T>, cuda::global_average_pool_forward<T>>(
        context.stream,
        GlobalAveragePoolForward<T>{
            .x = x.value().data<T>(), .y = y.mutable_data<T>(), .n = n, .pixels = pixels, .c = c});
  });
  return Variable::result(y, "global_average_pool", {&x}, [n, pixels, c](Gradients& gradients) {
    dispatch_float(gradients.dy().dtype(), "global_average_pool", [&](auto zero) {
      using T = decltype(zero);
      GradientTarget dx = gradients.target(0);
      run<cpu::global_average_pool_backward<T>, cuda::global_average_pool_backward<T>>(
          gradients.stream(), GlobalAveragePoolBackward<T>{.dy = gradients.dy().data<T>(),
                                                           .dx = dx.tensor.mutable_data<T>(),
                                                           .n = n,
                                                           .pixels = pixels,
                                                           .c = c,
                                                           .accumulate = dx.accumulate});
    });
  });
}

}  // namespace flyball

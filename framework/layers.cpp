#include "framework/layers.h"

#include "framework/run.h"

namespace flyball {

// The bias is made after the weight: the order fixes the random numbers.
Linear::Linear(Initializer& init, int64_t in, int64_t out, const LinearOptions& options)
    : weight(init.weight({out, in}, in, out, options.scheme)), relu_(options.relu) {
  if (options.bias) bias = init.bias(out, in);
}

Variable Linear::forward(const Context& context, const Variable& x) const {
  return linear(context, x, weight.variable, bias.variable, relu_);
}

void Linear::visit(Visitor& visitor) {
  visitor("weight", weight);
  visitor("bias", bias);
}

Conv2d::Conv2d(Initializer& init, int64_t channels, int64_t filters, int64_t size,
               const Conv2dLayerOptions& options)
    : weight(init.weight({filters, size, size, channels}, size * size * channels,
                         size * size * filters, options.scheme)),
      options_{.stride = options.stride, .padding = options.padding, .relu = options.relu} {
  if (options.bias) bias = init.bias(filters, size * size * channels);
}

Variable Conv2d::forward(const Context& context, const Variable& x, Tensor* column_sums) const {
  return conv2d(context, x, weight.variable, bias.variable, options_, column_sums);
}

void Conv2d::visit(Visitor& visitor) {
  visitor("weight", weight);
  visitor("bias", bias);
}

BatchNorm2d::BatchNorm2d(Initializer& init, int64_t channels, double first_weight)
    : weight(init.filled({channels}, first_weight, false)),
      bias(init.filled({channels}, 0, false)),
      running{.mean = Tensor::zeros(init.stream(), {channels}, weight.variable.dtype()),
              .var = Tensor::empty(init.stream(), {channels}, weight.variable.dtype())} {
  running.var.fill(init.stream(), 1);
}

Variable BatchNorm2d::forward(const Context& context, const Variable& x,
                              const BatchNormOptions& options) const {
  return batch_norm(context, x, weight.variable, bias.variable, running, options);
}

void BatchNorm2d::visit(Visitor& visitor) {
  visitor("weight", weight);
  visitor("bias", bias);
  visitor("running_mean", running.mean);
  visitor("running_var", running.var);
}

Variable conv2d_batch_norm(const Context& context, const Conv2d& conv, const BatchNorm2d& norm,
                           const Variable& x, const NormOptions& options) {
  Tensor sums;
  const bool with_sums = context.training && sums_come_with_conv2d(context.stream);
  const Variable y = conv.forward(context, x, with_sums ? &sums : nullptr);
  return norm.forward(context, y,
                      {.relu = options.relu, .residual = options.residual, .column_sums = sums});
}

}  // namespace flyball

#include "framework/layers.h"

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

Variable Conv2d::forward(const Context& context, const Variable& x) const {
  return conv2d(context, x, weight.variable, bias.variable, options_);
}

void Conv2d::visit(Visitor& visitor) {
  visitor("weight", weight);
  visitor("bias", bias);
}

}  // namespace flyball

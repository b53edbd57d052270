#include "models/cnn.h"

namespace flyball {

Cnn::Cnn(Initializer& init, double dropout_probability)
    : conv1_(init, 1, 32, 3, {.relu = true}),
      conv2_(init, 32, 64, 3),
      pool_({.relu = true}),
      dropout_(init, dropout_probability),
      fc1_(init, 64 * 12 * 12, 128, {.relu = true}),
      fc2_(init, 128, 10) {}

Variable Cnn::forward(const Context& context, const Variable& x) const {
  Variable y = conv1_.forward(context, x);
  y = conv2_.forward(context, y);
  y = dropout_.forward(context, pool_.forward(context, y));
  y = fc1_.forward(context, flatten(y));
  return fc2_.forward(context, y);
}

void Cnn::visit(Visitor& visitor) {
  visitor("conv1", conv1_);
  visitor("conv2", conv2_);
  visitor("fc1", fc1_);
  visitor("fc2", fc2_);
}

}  // namespace flyball

#include "models/mlp.h"

namespace flyball {

Mlp::Mlp(Initializer& init, const std::vector<int64_t>& sizes) {
  if (sizes.size() < 2) throw Error(str("mlp: ", sizes.size(), " sizes, expected at least 2"));
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    layers_.emplace_back(init, sizes[i], sizes[i + 1], LinearOptions{.relu = i + 2 < sizes.size()});
  }
}

Variable Mlp::forward(const Context& context, const Variable& x) const {
  Variable y = flatten(x);
  for (const Linear& layer : layers_) y = layer.forward(context, y);
  return y;
}

void Mlp::visit(Visitor& visitor) {
  for (size_t i = 0; i < layers_.size(); ++i) visitor(str("fc", i + 1), layers_[i]);
}

}  // namespace flyball

#include "framework/layers_sequence.h"

namespace flyball {

// N(0, 2 / fan_in) with a fan_in of 2.
Embedding::Embedding(Initializer& init, int64_t rows, int64_t d, const EmbeddingOptions& options)
    : weight(init.weight({rows, d}, 2, d, Scheme::kKaimingNormal)), options_(options) {}

Lstm::Lstm(Initializer& init, int64_t inputs, int64_t d, const LstmOptions& options)
    : columns_(d * (options.bidirectional ? 2 : 1)), dropout_(options.dropout) {
  if (options.num_layers < 1) {
    throw Error(str("lstm: num_layers is ", options.num_layers, ", expected at least 1"));
  }
  const int64_t directions = options.bidirectional ? 2 : 1;
  const auto bias = [&] {
    Parameter parameter = init.weight({directions, 4 * d}, d, d);
    parameter.decay = false;
    return parameter;
  };
  for (int64_t k = 0; k < options.num_layers; ++k) {
    Layer layer;
    layer.w_ih = init.weight({directions, 4 * d, k == 0 ? inputs : columns_}, d, 4 * d);
    layer.w_hh = init.weight({directions, 4 * d, d}, d, 4 * d);
    layer.b_ih = bias();
    layer.b_hh = bias();
    if (k + 1 < options.num_layers) layer.dropout = init.next_dropout_layer();
    layers_.push_back(std::move(layer));
  }
}

Variable Lstm::forward(const Context& context, const Variable& x, const Tensor& lengths) const {
  Variable y = x;
  for (size_t k = 0; k < layers_.size(); ++k) {
    const Layer& layer = layers_[k];
    y = lstm(context, y, lengths,
             {layer.w_ih.variable, layer.w_hh.variable, layer.b_ih.variable, layer.b_hh.variable});
    if (k + 1 < layers_.size()) y = dropout(context, y, dropout_, layer.dropout);
  }
  return y;
}

void Lstm::visit(Visitor& visitor) {
  for (size_t k = 0; k < layers_.size(); ++k) {
    visitor(str("w_ih_l", k), layers_[k].w_ih);
    visitor(str("w_hh_l", k), layers_[k].w_hh);
    visitor(str("b_ih_l", k), layers_[k].b_ih);
    visitor(str("b_hh_l", k), layers_[k].b_hh);
  }
}

}  // namespace flyball

#pragma once

#include "framework/layers.h"

namespace flyball {

// 784-128-10 (simple) or 784-256-128-64-10 (complex) with ReLU between the layers; logits out.
class Mlp : public Module {
 public:
  // sizes: features in, hidden layers, classes out; at least two numbers.
  Mlp(Initializer& init, const std::vector<int64_t>& sizes);
  static std::vector<int64_t> simple() { return {784, 128, 10}; }
  static std::vector<int64_t> complex() { return {784, 256, 128, 64, 10}; }

  Variable forward(const Context& context, const Variable& x) const;  // x [n, ...] is flattened
  void visit(Visitor& visitor) override;

 private:
  std::vector<Linear> layers_;
};

}  // namespace flyball

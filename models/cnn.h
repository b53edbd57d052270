#pragma once

#include "framework/layers.h"

namespace flyball {

// For 28x28 grey images: conv 3x3 1->32, ReLU, conv 3x3 32->64, ReLU, max pool 2, dropout, fc
// 9216->128, ReLU, fc 128->10; 1,199,882 parameters. The second ReLU runs inside the pooling, where
// there are four times fewer elements.
class Cnn : public Module {
 public:
  explicit Cnn(Initializer& init, double dropout_probability = 0.25);
  Variable forward(const Context& context,
                   const Variable& x) const;  // x [n,28,28,1] -> logits [n,10]
  void visit(Visitor& visitor) override;

 private:
  Conv2d conv1_, conv2_;
  MaxPool2d pool_;
  Dropout dropout_;
  Linear fc1_, fc2_;
};

}  // namespace flyball

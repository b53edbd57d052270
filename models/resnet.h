#pragma once

#include <vector>

#include "framework/layers.h"

namespace flyball {

// y = relu(norm2(conv2(relu(norm1(conv1(x))))) + shortcut(x)), 3x3 convolutions without bias; the
// shortcut is x itself or, where stride or filters change, norm(1x1 convolution(x)).
// He et al. 2016, arXiv:1512.03385.
class BasicBlock : public Module {
 public:
  BasicBlock(Initializer& init, int64_t channels, int64_t filters, int64_t stride,
             bool zero_last_gamma);
  Variable forward(const Context& context, const Variable& x) const;
  void visit(Visitor& visitor) override;

 private:
  Conv2d conv1_, conv2_;
  BatchNorm2d norm1_, norm2_;
  std::vector<Conv2d> shortcut_conv_;  // one or none
  std::vector<BatchNorm2d> shortcut_norm_;
};

struct ResNetOptions {
  int64_t width = 64;  // filters of the first stage; later stages have 2, 4 and 8 times as many
  int64_t channels = 3, classes = 10;
  bool zero_last_gamma =
      false;  // blocks start as relu(shortcut): Goyal et al. 2017, arXiv:1706.02677
};

// ResNet-18 for small images: a 3x3 stem, four stages of two blocks, the later three starting with
// stride 2, global average pooling, one linear layer; 11,173,962 parameters. Parameters are named
// as in torchvision.
class ResNet18 : public Module {
 public:
  explicit ResNet18(Initializer& init, const ResNetOptions& options = {});
  Variable forward(const Context& context,
                   const Variable& x) const;  // x [n,h,w,channels] -> logits [n,classes]
  void visit(Visitor& visitor) override;

 private:
  Conv2d conv1_;
  BatchNorm2d norm1_;
  std::vector<BasicBlock> blocks_;
  Linear fc_;
};

}  // namespace flyball

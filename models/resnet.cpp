#include "models/resnet.h"

namespace flyball {
namespace {

constexpr int kStages = 4, kBlocks = 2;

Conv2d convolution(Initializer& init, int64_t channels, int64_t filters, int64_t size,
                   int64_t stride) {
  return {init,
          channels,
          filters,
          size,
          {.stride = stride, .padding = size / 2, .bias = false, .scheme = Scheme::kKaimingNormal}};
}

std::vector<BasicBlock> make_blocks(Initializer& init, const ResNetOptions& options) {
  std::vector<BasicBlock> blocks;
  int64_t channels = options.width;
  for (int stage = 0; stage < kStages; ++stage) {
    const int64_t filters = options.width << stage;
    for (int block = 0; block < kBlocks; ++block) {
      const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      blocks.emplace_back(init, channels, filters, stride, options.zero_last_gamma);
      channels = filters;
    }
  }
  return blocks;
}

}  // namespace

BasicBlock::BasicBlock(Initializer& init, int64_t channels, int64_t filters, int64_t stride,
                       bool zero_last_gamma)
    : conv1_(convolution(init, channels, filters, 3, stride)),
      conv2_(convolution(init, filters, filters, 3, 1)),
      norm1_(init, filters),
      norm2_(init, filters, zero_last_gamma ? 0 : 1) {
  if (stride == 1 && channels == filters) return;
  shortcut_conv_.push_back(convolution(init, channels, filters, 1, stride));
  shortcut_norm_.emplace_back(init, filters);
}

Variable BasicBlock::forward(const Context& context, const Variable& x) const {
  const Variable h = conv2d_batch_norm(context, conv1_, norm1_, x, {.relu = true});
  const Variable shortcut =
      shortcut_conv_.empty()
          ? x
          : conv2d_batch_norm(context, shortcut_conv_.front(), shortcut_norm_.front(), x);
  return conv2d_batch_norm(context, conv2_, norm2_, h, {.relu = true, .residual = shortcut});
}

void BasicBlock::visit(Visitor& visitor) {
  visitor("conv1", conv1_);
  visitor("bn1", norm1_);
  visitor("conv2", conv2_);
  visitor("bn2", norm2_);
  if (shortcut_conv_.empty()) return;
  visitor("downsample.0", shortcut_conv_.front());
  visitor("downsample.1", shortcut_norm_.front());
}

ResNet18::ResNet18(Initializer& init, const ResNetOptions& options)
    : conv1_(convolution(init, options.channels, options.width, 3, 1)),
      norm1_(init, options.width),
      blocks_(make_blocks(init, options)),
      fc_(init, options.width << (kStages - 1), options.classes) {}

Variable ResNet18::forward(const Context& context, const Variable& x) const {
  Variable y = conv2d_batch_norm(context, conv1_, norm1_, x, {.relu = true});
  for (const BasicBlock& block : blocks_) y = block.forward(context, y);
  return fc_.forward(context, global_average_pool(context, y));
}

void ResNet18::visit(Visitor& visitor) {
  visitor("conv1", conv1_);
  visitor("bn1", norm1_);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    visitor(str("layer", i / kBlocks + 1, ".", i % kBlocks), blocks_[i]);
  }
  visitor("fc", fc_);
}

}  // namespace flyball

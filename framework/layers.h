#pragma once

#include <string>
#include <tuple>
#include <utility>

#include "framework/init.h"
#include "framework/module.h"
#include "framework/ops.h"

namespace flyball {

struct LinearOptions {
  bool bias = true;
  bool relu = false;  // fused into the layer
  Scheme scheme = Scheme::kFanIn;
};

// y[n,out] = relu?(x[n,in] weight[out,in]^T + bias[out])
class Linear : public Module {
 public:
  Linear(Initializer& init, int64_t in, int64_t out, const LinearOptions& options = {});
  Variable forward(const Context& context, const Variable& x) const;
  void visit(Visitor& visitor) override;

  Parameter weight, bias;

 private:
  bool relu_;
};

struct Conv2dLayerOptions {
  int64_t stride = 1, padding = 0;
  bool bias = true;
  bool relu = false;  // fused into the layer
  Scheme scheme = Scheme::kFanIn;
};

// Square filters on NHWC images: x [n,h,w,c] -> [n,p,q,filters]; weight [filters,size,size,c]
class Conv2d : public Module {
 public:
  Conv2d(Initializer& init, int64_t channels, int64_t filters, int64_t size,
         const Conv2dLayerOptions& options = {});
  Variable forward(const Context& context, const Variable& x, Tensor* column_sums = nullptr) const;
  void visit(Visitor& visitor) override;

  Parameter weight, bias;

 private:
  Conv2dOptions options_;
};

// Batch norm of NHWC images; weight and bias are gamma and beta, without weight decay. The running
// statistics are buffers, saved with the model; training moves them.
class BatchNorm2d : public Module {
 public:
  BatchNorm2d(Initializer& init, int64_t channels, double first_weight = 1);
  Variable forward(const Context& context, const Variable& x,
                   const BatchNormOptions& options = {}) const;
  void visit(Visitor& visitor) override;

  Parameter weight, bias;
  mutable RunningStatistics running;
};

struct NormOptions {
  bool relu = false;
  Variable residual{};  // added before the ReLU; undefined: none
};
// norm(conv(x)): in training on CUDA the statistics come with the convolution, which has them in
// registers.
Variable conv2d_batch_norm(const Context& context, const Conv2d& conv, const BatchNorm2d& norm,
                           const Variable& x, const NormOptions& options = {});

class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(const Pool2dOptions& options = {}) : options_(options) {}
  Variable forward(const Context& context, const Variable& x) const {
    return max_pool2d(context, x, options_);
  }
  void visit(Visitor&) override {}

 private:
  Pool2dOptions options_;
};

// Zeroes with `probability` in training; each layer draws masks of its own.
class Dropout : public Module {
 public:
  Dropout(Initializer& init, double probability)
      : probability_(probability), layer_(init.next_dropout_layer()) {}
  Variable forward(const Context& context, const Variable& x) const {
    return dropout(context, x, probability_, layer_);
  }
  void visit(Visitor&) override {}

 private:
  double probability_;
  uint32_t layer_;
};

class ReLU : public Module {
 public:
  Variable forward(const Context& context, const Variable& x) const { return relu(context, x); }
  void visit(Visitor&) override {}
};

class Flatten : public Module {
 public:
  Variable forward(const Context&, const Variable& x) const { return flatten(x); }
  void visit(Visitor&) override {}
};

// Layers one after the other, typed: Sequential net(Linear(init, 784, 128, {.relu = true}),
// Linear(init, 128, 10)); Parameters are named by position: "0.weight".
template <class... Layers>
class Sequential : public Module {
 public:
  explicit Sequential(Layers... layers) : layers_(std::move(layers)...) {}

  Variable forward(const Context& context, const Variable& x) const {
    Variable y = x;
    std::apply([&](const auto&... layer) { ((y = layer.forward(context, y)), ...); }, layers_);
    return y;
  }

  void visit(Visitor& visitor) override {
    int position = 0;
    std::apply([&](auto&... layer) { (visitor(std::to_string(position++), layer), ...); }, layers_);
  }

 private:
  std::tuple<Layers...> layers_;
};

}  // namespace flyball

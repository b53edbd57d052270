#pragma once

#include <vector>

#include "framework/init.h"
#include "framework/module.h"
#include "framework/ops_sequence.h"

namespace flyball {

// tokens [...] i32 -> [..., d]; weight [rows, d] starts as N(0, 1), as in PyTorch.
class Embedding : public Module {
 public:
  Embedding(Initializer& init, int64_t rows, int64_t d, const EmbeddingOptions& options = {});
  Variable forward(const Context& context, const Tensor& tokens) const {
    return embedding(context, tokens, weight.variable, options_);
  }
  void visit(Visitor& visitor) override { visitor("weight", weight); }

  Parameter weight;

 private:
  EmbeddingOptions options_;
};

struct LstmOptions {
  int64_t num_layers = 1;
  bool bidirectional = false;
  double dropout = 0;  // between layers
};

// x [time,batch,inputs] -> [time,batch,directions*d]. Layer k has w_ih [directions,4d,inputs],
// w_hh [directions,4d,d], b_ih and b_hh [directions,4d], gates in the order i, f, g, o: PyTorch's
// weight_ih_lk, weight_hh_lk, bias_ih_lk and bias_hh_lk, followed by those that end in _reverse.
// All start as U(-b, b), b = 1 / sqrt(d).
class Lstm : public Module {
 public:
  Lstm(Initializer& init, int64_t inputs, int64_t d, const LstmOptions& options = {});
  Variable forward(const Context& context, const Variable& x, const Tensor& lengths) const;
  void visit(Visitor& visitor) override;
  int64_t columns() const { return columns_; }  // of y

 private:
  struct Layer {
    Parameter w_ih, w_hh, b_ih, b_hh;
    uint32_t dropout = 0;  // number of the dropout behind it
  };
  std::vector<Layer> layers_;
  int64_t columns_;
  double dropout_;
};

}  // namespace flyball

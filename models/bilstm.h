#pragma once

#include "framework/layers.h"
#include "framework/layers_sequence.h"

namespace flyball {

struct BiLstmOptions {
  int64_t vocabulary = 20000;
  int64_t embedding = 100;
  int64_t hidden = 128;
  int64_t num_layers = 1;
  int64_t classes = 2;
  double dropout = 0.5;  // between layers and before the linear layer
  SequencePool pool = SequencePool::kMean;
};

// Classifies token sequences: embedding (token 0 is padding), bidirectional LSTM layers, pooling
// over each sequence's own steps, dropout, linear. 2,236,034 parameters by default.
class BiLstm : public Module {
 public:
  explicit BiLstm(Initializer& init, const BiLstmOptions& options = {});
  // tokens [time,batch] i32, lengths [batch] i32 -> logits [batch,classes]
  Variable forward(const Context& context, const Tensor& tokens, const Tensor& lengths) const;
  void visit(Visitor& visitor) override;

 private:
  Embedding embedding_;
  Lstm lstm_;
  SequencePool pool_;
  int64_t hidden_;
  Dropout dropout_;
  Linear head_;
};

}  // namespace flyball

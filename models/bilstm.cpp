#include "models/bilstm.h"

namespace flyball {

BiLstm::BiLstm(Initializer& init, const BiLstmOptions& options)
    : embedding_(init, options.vocabulary, options.embedding, {.padding = 0}),
      lstm_(init, options.embedding, options.hidden,
            {.num_layers = options.num_layers, .bidirectional = true, .dropout = options.dropout}),
      pool_(options.pool),
      hidden_(options.hidden),
      dropout_(init, options.dropout),
      head_(init, lstm_.columns(), options.classes) {}

Variable BiLstm::forward(const Context& context, const Tensor& tokens,
                         const Tensor& lengths) const {
  const Variable states = lstm_.forward(context, embedding_.forward(context, tokens), lengths);
  const Variable pooled = sequence_pool(context, states, lengths, pool_, hidden_);
  return head_.forward(context, dropout_.forward(context, pooled));
}

void BiLstm::visit(Visitor& visitor) {
  visitor("embedding", embedding_);
  visitor("lstm", lstm_);
  visitor("head", head_);
}

}  // namespace flyball

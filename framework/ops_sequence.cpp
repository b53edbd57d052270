#include "framework/ops_sequence.h"

#include "framework/check.h"
#include "framework/run.h"
#include "kernels/embedding.h"
#include "kernels/lstm.h"

namespace flyball {
namespace {

void check_f32_or_f64(const char* what, DType dtype) {
  if (dtype == DType::f32 || dtype == DType::f64) return;
  throw Error(str(what, " is ", name_of(dtype), ", expected f32 or f64"));
}

void check_lengths(const char* what, const Tensor& lengths, int64_t batch) {
  if (!lengths.defined()) return;
  check_shape(what, lengths.shape(), {batch}, "sequences of x");
  check_dtype(what, lengths.dtype(), DType::i32);
}

const int32_t* data_of(const Tensor& lengths) {
  return lengths.defined() ? lengths.data<int32_t>() : nullptr;
}

SavedTensor saved_or_none(const Tensor& tensor, const char* what) {
  return tensor.defined() ? SavedTensor(tensor, what) : SavedTensor();
}

// Tokens in host memory alone: the host does not wait for a device.
void check_tokens(const Tensor& tokens, int64_t rows) {
  if (tokens.device().kind != Device::Kind::cpu) return;
  const auto* values = tokens.data<int32_t>();
  for (int64_t i = 0; i < tokens.count(); ++i) {
    if (values[i] >= 0 && values[i] < rows) continue;
    throw Error(str("embedding: token ", i, " is ", values[i], ", expected 0 to ", rows - 1,
                    " (rows of table)"));
  }
}

Shape with_features(const Shape& shape, int64_t d) {
  switch (shape.rank()) {
    case 1:
      return {shape[0], d};
    case 2:
      return {shape[0], shape[1], d};
    case 3:
      return {shape[0], shape[1], shape[2], d};
    default:
      throw Error(str("embedding: tokens has shape ", shape, ", expected 1 to 3 axes"));
  }
}

template <class T>
LstmGradient<T> gradient_of(Gradients& gradients, size_t input, GradientTarget& target) {
  if (!gradients.wants(input)) return {};
  target = gradients.target(input);
  return {target.tensor.mutable_data<T>(), target.accumulate};
}

// Of the weights, against x; throws Error.
LstmShape lstm_shape(const Variable& x, const Tensor& lengths, const LstmWeights& weights) {
  check_f32_or_f64("lstm: x", x.dtype());
  check_rank("lstm: x", x.shape(), 3);
  check_rank("lstm: w_ih", weights.w_ih.shape(), 3);
  const int64_t directions = weights.w_ih.shape()[0], gates = weights.w_ih.shape()[1];
  if (directions < 1 || directions > 2 || gates % 4 != 0) {
    throw Error(str("lstm: w_ih has shape ", weights.w_ih.shape(),
                    ", expected [1 or 2, 4 d, inputs of x]"));
  }
  const LstmShape shape{.time = x.shape()[0],
                        .batch = x.shape()[1],
                        .inputs = x.shape()[2],
                        .d = gates / 4,
                        .directions = directions};
  check_shape("lstm: w_ih", weights.w_ih.shape(), {directions, gates, shape.inputs},
              "inputs as x has");
  check_shape("lstm: w_hh", weights.w_hh.shape(), {directions, gates, shape.d},
              "[directions, 4 d, d] as w_ih has");
  check_dtype("lstm: w_ih", weights.w_ih.dtype(), x.dtype());
  check_dtype("lstm: w_hh", weights.w_hh.dtype(), x.dtype());
  const auto check_bias = [&](const char* what, const Variable& bias) {
    if (!bias.defined()) return;
    check_shape(what, bias.shape(), {directions, gates}, "[directions, 4 d] as w_ih has");
    check_dtype(what, bias.dtype(), x.dtype());
  };
  check_bias("lstm: b_ih", weights.b_ih);
  check_bias("lstm: b_hh", weights.b_hh);
  check_lengths("lstm: lengths", lengths, shape.batch);
  return shape;
}

}  // namespace

Variable embedding(const Context& context, const Tensor& tokens, const Variable& table,
                   const EmbeddingOptions& options) {
  check_dtype("embedding: tokens", tokens.dtype(), DType::i32);
  check_f32_or_f64("embedding: table", table.dtype());
  check_rank("embedding: table", table.shape(), 2);
  const int64_t rows = table.shape()[0], d = table.shape()[1], count = tokens.count();
  if (options.padding < -1 || options.padding >= rows) {
    throw Error(str("embedding: padding is ", options.padding, ", expected -1 to ", rows - 1,
                    " (rows of table)"));
  }
  if (options.frozen < 0 || options.frozen > rows) {
    throw Error(
        str("embedding: frozen is ", options.frozen, ", expected 0 to ", rows, " (rows of table)"));
  }
  const Shape shape = with_features(tokens.shape(), d);
  check_tokens(tokens, rows);
  Tensor y = Tensor::empty(context.stream, shape, table.dtype());
  dispatch_real(table.dtype(), "embedding", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::embedding_forward<T>, cuda::embedding_forward<T>>(
        context.stream, EmbeddingForward<T>{.tokens = tokens.data<int32_t>(),
                                            .table = table.value().data<T>(),
                                            .y = y.mutable_data<T>(),
                                            .count = count,
                                            .rows = rows,
                                            .d = d,
                                            .padding = options.padding});
  });
  return Variable::result(
      y, "embedding", {&table},
      [=, tokens = SavedTensor(tokens, "embedding: tokens")](Gradients& gradients) {
        dispatch_real(gradients.dy().dtype(), "embedding", [&](auto zero) {
          using T = decltype(zero);
          GradientTarget dtable = gradients.target(0);
          run<cpu::embedding_backward<T>, cuda::embedding_backward<T>>(
              gradients.stream(),
              EmbeddingBackward<T>{.tokens = tokens.get(gradients.stream()).data<int32_t>(),
                                   .dy = gradients.dy().data<T>(),
                                   .dtable = dtable.tensor.mutable_data<T>(),
                                   .count = count,
                                   .rows = rows,
                                   .d = d,
                                   .padding = options.padding,
                                   .frozen = options.frozen,
                                   .accumulate = dtable.accumulate});
        });
      });
}

Variable lstm(const Context& context, const Variable& x, const Tensor& lengths,
              const LstmWeights& weights) {
  const LstmShape shape = lstm_shape(x, lengths, weights);
  const Variable &w_ih = weights.w_ih, &w_hh = weights.w_hh;
  const Variable &b_ih = weights.b_ih, &b_hh = weights.b_hh;
  const Stream& stream = context.stream;
  Tensor y = Tensor::empty(stream, {shape.time, shape.batch, shape.columns()}, x.dtype());
  const bool wanted = x.requires_gradient() || w_ih.requires_gradient() ||
                      w_hh.requires_gradient() || b_ih.requires_gradient() ||
                      b_hh.requires_gradient();
  Tensor saved;
  if (wanted && gradients_enabled()) {
    saved = Tensor::empty(stream, {shape.saved_count()}, x.dtype());
  }
  dispatch_real(x.dtype(), "lstm", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::lstm_forward<T>, cuda::lstm_forward<T>>(
        stream, LstmForward<T>{.x = x.value().data<T>(),
                               .lengths = data_of(lengths),
                               .w_ih = w_ih.value().data<T>(),
                               .w_hh = w_hh.value().data<T>(),
                               .b_ih = data_or_null<T>(b_ih),
                               .b_hh = data_or_null<T>(b_hh),
                               .y = y.mutable_data<T>(),
                               .saved = saved.defined() ? saved.mutable_data<T>() : nullptr,
                               .shape = shape});
  });
  return Variable::result(
      y, "lstm", {&x, &w_ih, &w_hh, &b_ih, &b_hh},
      [shape, saved, x = SavedTensor(x.value(), "lstm: x"), lengths = lengths,
       kept_lengths = saved_or_none(lengths, "lstm: lengths"),
       w_ih = SavedTensor(w_ih.value(), "lstm: w_ih"),
       w_hh = SavedTensor(w_hh.value(), "lstm: w_hh")](Gradients& gradients) mutable {
        dispatch_real(gradients.dy().dtype(), "lstm", [&](auto zero) {
          using T = decltype(zero);
          GradientTarget targets[5];
          const auto gradient = [&](size_t input) {
            return gradient_of<T>(gradients, input, targets[input]);
          };
          const int32_t* steps =
              lengths.defined() ? kept_lengths.get(gradients.stream()).data<int32_t>() : nullptr;
          run<cpu::lstm_backward<T>, cuda::lstm_backward<T>>(
              gradients.stream(), LstmBackward<T>{.x = x.get(gradients.stream()).data<T>(),
                                                  .lengths = steps,
                                                  .w_ih = w_ih.get(gradients.stream()).data<T>(),
                                                  .w_hh = w_hh.get(gradients.stream()).data<T>(),
                                                  .dy = gradients.dy().data<T>(),
                                                  .saved = saved.mutable_data<T>(),
                                                  .dx = gradient(0),
                                                  .dw_ih = gradient(1),
                                                  .dw_hh = gradient(2),
                                                  .db_ih = gradient(3),
                                                  .db_hh = gradient(4),
                                                  .shape = shape});
        });
      });
}

Variable sequence_pool(const Context& context, const Variable& x, const Tensor& lengths,
                       SequencePool kind, int64_t backward_columns) {
  check_f32_or_f64("sequence_pool: x", x.dtype());
  check_rank("sequence_pool: x", x.shape(), 3);
  const SequencePoolShape shape{.kind = kind,
                                .time = x.shape()[0],
                                .batch = x.shape()[1],
                                .c = x.shape()[2],
                                .backward_columns = backward_columns};
  check_lengths("sequence_pool: lengths", lengths, shape.batch);
  if (backward_columns < 0 || backward_columns > shape.c) {
    throw Error(str("sequence_pool: backward_columns is ", backward_columns, ", expected 0 to ",
                    shape.c, " (columns of x)"));
  }
  Tensor y = Tensor::empty(context.stream, {shape.batch, shape.c}, x.dtype());
  Tensor argmax;
  if (kind == SequencePool::kMax && x.requires_gradient() && gradients_enabled()) {
    argmax = Tensor::empty(context.stream, y.shape(), DType::i32);
  }
  dispatch_real(x.dtype(), "sequence_pool", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::sequence_pool_forward<T>, cuda::sequence_pool_forward<T>>(
        context.stream, SequencePoolForward<T>{
                            .x = x.value().data<T>(),
                            .lengths = data_of(lengths),
                            .y = y.mutable_data<T>(),
                            .argmax = argmax.defined() ? argmax.mutable_data<int32_t>() : nullptr,
                            .shape = shape});
  });
  return Variable::result(
      y, "sequence_pool", {&x},
      [shape, argmax, lengths = lengths,
       kept_lengths = saved_or_none(lengths, "sequence_pool: lengths")](Gradients& gradients) {
        dispatch_real(gradients.dy().dtype(), "sequence_pool", [&](auto zero) {
          using T = decltype(zero);
          GradientTarget dx = gradients.target(0);
          run<cpu::sequence_pool_backward<T>, cuda::sequence_pool_backward<T>>(
              gradients.stream(),
              SequencePoolBackward<T>{
                  .dy = gradients.dy().data<T>(),
                  .lengths = lengths.defined()
                                 ? kept_lengths.get(gradients.stream()).data<int32_t>()
                                 : nullptr,
                  .argmax = argmax.defined() ? argmax.data<int32_t>() : nullptr,
                  .dx = dx.tensor.mutable_data<T>(),
                  .shape = shape,
                  .accumulate = dx.accumulate});
        });
      });
}

}  // namespace flyball

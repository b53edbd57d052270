// Operations on sequences: what lies past a length, what is refused, layers.

#include <limits>

#include "framework/layers_sequence.h"
#include "kernels/cpu/lstm_gates.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

Context context() {
  static const DeviceValue<int64_t> step(stream(), 1);
  return {.stream = stream(), .training = true, .seed = 11, .step = step.get()};
}

Variable real(const Shape& shape, uint64_t seed, DType dtype = DType::f32) {
  return Variable(normal_tensor(shape, seed, dtype), true);
}

// x [time, batch, columns], with `filler` past each length.
Tensor padded(const std::vector<int32_t>& lengths, int64_t time, int64_t columns, double filler,
              DType dtype) {
  const auto batch = static_cast<int64_t>(lengths.size());
  std::vector<double> values = normal_values(time * batch * columns, 5);
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i) / columns;
    if (row / batch >= lengths[static_cast<size_t>(row % batch)]) values[i] = filler;
  }
  return tensor_of({time, batch, columns}, values, dtype);
}

// The results and gradients of a layer and a pooling, of the steps up to `compared`.
struct Outcome {
  std::vector<double> y, pooled, dx, others;
};

Outcome run_lstm(int64_t time, int64_t compared, double filler, SequencePool kind, DType dtype) {
  const std::vector<int32_t> lengths = {3, 7, 0, 1, 5};
  const int64_t inputs = 6, d = 35;
  const Variable x(padded(lengths, time, inputs, filler, dtype), true);
  const LstmWeights weights{real({2, 4 * d, inputs}, 1, dtype), real({2, 4 * d, d}, 2, dtype),
                            real({2, 4 * d}, 3, dtype), real({2, 4 * d}, 4, dtype)};
  const Tensor steps = labels_of(lengths);
  const Variable y = lstm(context(), x, steps, weights);
  const Variable pooled = sequence_pool(context(), y, steps, kind, d);
  // A gradient of y itself, which is not 0 past the lengths.
  const Variable sums =
      add(context(), sum(context(), multiply(context(), pooled, pooled)), sum(context(), y));
  sums.backward(stream());
  Outcome outcome{.y = values_of(y.value().slice(0, compared)),
                  .pooled = values_of(pooled.value()),
                  .dx = values_of(x.gradient().slice(0, compared)),
                  .others = {}};
  for (const Variable* w : {&weights.w_ih, &weights.w_hh, &weights.b_ih, &weights.b_hh}) {
    const std::vector<double> values = values_of(w->gradient());
    outcome.others.insert(outcome.others.end(), values.begin(), values.end());
  }
  for (const double value : values_of(y.value().slice(7, time))) CHECK(value == 0);
  for (const double value : values_of(x.gradient().slice(7, time))) CHECK(value == 0);
  return outcome;
}

}  // namespace

TEST_CASE("sequences: longer padding, whatever it holds, gives the same bits") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const SequencePool kind : {SequencePool::kMean, SequencePool::kMax, SequencePool::kLast}) {
      const Outcome tight = run_lstm(8, 7, 0, kind, dtype);
      const Outcome loose = run_lstm(300, 7, std::numeric_limits<double>::quiet_NaN(), kind, dtype);
      CHECK(tight.y == loose.y);
      CHECK(tight.pooled == loose.pooled);
      CHECK(tight.dx == loose.dx);
      CHECK(tight.others == loose.others);
    }
  }
}

TEST_CASE("sequences: each sequence gives what it gives alone") {
  const int64_t d = 5;
  const LstmWeights weights{real({2, 4 * d, 3}, 1, DType::f64), real({2, 4 * d, d}, 2, DType::f64),
                            Variable(), Variable()};
  const Tensor x = normal_tensor({6, 2, 3}, 7);
  const std::vector<double> together =
      values_of(lstm(context(), Variable(x), labels_of({6, 2}), weights).value());
  std::vector<double> second;
  for (int64_t t = 0; t < 2; ++t) {
    const std::vector<double> row = values_of(x.slice(t, t + 1));
    second.insert(second.end(), row.begin() + 3, row.end());
  }
  const std::vector<double> alone =
      values_of(lstm(context(), Variable(tensor_of({2, 1, 3}, second)), Tensor(), weights).value());
  for (int64_t t = 0; t < 2; ++t) {
    for (int64_t j = 0; j < 2 * d; ++j) {
      CHECK(std::abs(together[static_cast<size_t>((t * 2 + 1) * 2 * d + j)] -
                     alone[static_cast<size_t>(t * 2 * d + j)]) < 1e-14);
    }
  }
}

TEST_CASE("sequences: f32 sigma and tanh of the CPU are within 2^-22, NaN stays NaN") {
  constexpr int64_t kCount = 4003;
  double worst = 0;
  std::vector<float> gates(4 * kCount), before(kCount), c(kCount), y(kCount);
  for (int64_t j = 0; j < kCount; ++j) {
    const double z = std::pow(10.0, 7.0 * static_cast<double>(j % 2001) / 2000 - 5);
    for (int64_t gate = 0; gate < 4; ++gate) {
      gates[static_cast<size_t>(gate * kCount + j)] = static_cast<float>(j < 2001 ? z : -z);
    }
  }
  std::vector<float> z = gates;
  cpu::lstm_cell_forward(
      cpu::LstmCellForward<float>{gates.data(), before.data(), c.data(), y.data(), nullptr},
      kCount);
  for (size_t i = 0; i < gates.size(); ++i) {
    const double exact = i / kCount == 2 ? std::tanh(static_cast<double>(z[i]))
                                         : 1 / (1 + std::exp(-static_cast<double>(z[i])));
    worst = std::max(worst, std::abs(gates[i] - exact));
  }
  MESSAGE("largest error ", worst * 0x1p22, " of 2^-22");
  CHECK(worst < 0x1p-22);
  CHECK(worst > 0);
  std::vector<float> nan(4 * 3, std::numeric_limits<float>::quiet_NaN());
  cpu::lstm_cell_forward(
      cpu::LstmCellForward<float>{nan.data(), nullptr, c.data(), y.data(), nullptr}, 3);
  for (size_t i = 0; i < 3; ++i) CHECK(std::isnan(y[i]));
}

TEST_CASE("sequences: operations refuse what does not fit, in one line") {
  const Variable x = real({4, 3, 5}, 1), w_ih = real({2, 24, 5}, 2), w_hh = real({2, 24, 6}, 3);
  const Tensor lengths = labels_of({1, 2, 3});
  const auto refused = [](auto action, const std::string& text) {
    CHECK(error_of(action) == text);
  };
  refused(
      [&] {
        lstm(context(), real({4, 3}, 1), lengths, {w_ih, w_hh, {}, {}});
      },
      "lstm: x has shape [4,3], expected 3 axes");
  refused(
      [&] {
        lstm(context(), x, lengths, {real({3, 24, 5}, 1), w_hh, {}, {}});
      },
      "lstm: w_ih has shape [3,24,5], expected [1 or 2, 4 d, inputs of x]");
  refused(
      [&] {
        lstm(context(), x, lengths, {real({2, 24, 6}, 1), w_hh, {}, {}});
      },
      "lstm: w_ih has shape [2,24,6], expected [2,24,5] (inputs as x has)");
  refused(
      [&] {
        lstm(context(), x, lengths, {w_ih, real({1, 24, 6}, 1), {}, {}});
      },
      "lstm: w_hh has shape [1,24,6], expected [2,24,6] ([directions, 4 d, d] as w_ih has)");
  refused(
      [&] {
        lstm(context(), x, lengths, {w_ih, w_hh, real({24}, 1), {}});
      },
      "lstm: b_ih has shape [24], expected [2,24] ([directions, 4 d] as w_ih has)");
  refused(
      [&] {
        lstm(context(), x, labels_of({1, 2}), {w_ih, w_hh, {}, {}});
      },
      "lstm: lengths has shape [2], expected [3] (sequences of x)");
  refused(
      [&] {
        lstm(context(), x, normal_tensor({3}, 1), {w_ih, w_hh, {}, {}});
      },
      "lstm: lengths is f64, expected i32");
  refused(
      [&] {
        lstm(context(), x, lengths, {w_ih, real({2, 24, 6}, 1, DType::f64), {}, {}});
      },
      "lstm: w_hh is f64, expected f32");
  refused([&] { sequence_pool(context(), x, labels_of({1}), SequencePool::kMean); },
          "sequence_pool: lengths has shape [1], expected [3] (sequences of x)");
  refused([&] { sequence_pool(context(), x, lengths, SequencePool::kLast, 6); },
          "sequence_pool: backward_columns is 6, expected 0 to 5 (columns of x)");
  const Variable table = real({4, 2}, 1);
  refused([&] { embedding(context(), normal_tensor({3}, 1), table); },
          "embedding: tokens is f64, expected i32");
  refused([&] { embedding(context(), labels_of({1}), real({4}, 1)); },
          "embedding: table has shape [4], expected 2 axes");
  refused([&] { embedding(context(), labels_of({1}), table, {.padding = 4}); },
          "embedding: padding is 4, expected -1 to 3 (rows of table)");
  refused([&] { embedding(context(), labels_of({1}), table, {.frozen = 5}); },
          "embedding: frozen is 5, expected 0 to 4 (rows of table)");
  if (stream().device().kind == Device::Kind::cpu) {
    refused(
        [&] {
          embedding(context(), labels_of({1, 4, -1}), table);
        },
        "embedding: token 1 is 4, expected 0 to 3 (rows of table)");
  }
}

TEST_CASE("sequences: an LSTM of two layers is two layers with a dropout between them") {
  Initializer init(stream(), 3, DType::f64);
  Lstm net(init, 4, 5, {.num_layers = 2, .bidirectional = true, .dropout = 0.5});
  std::vector<std::string> names;
  for (const auto& parameter : parameters_of(net)) names.push_back(parameter.name);
  CHECK(names == std::vector<std::string>{"w_ih_l0", "w_hh_l0", "b_ih_l0", "b_hh_l0", "w_ih_l1",
                                          "w_hh_l1", "b_ih_l1", "b_hh_l1"});
  const auto parameters = parameters_of(net);
  for (size_t i = 0; i < 8; ++i) CHECK(parameters[i].item->decay == (i % 4 < 2));
  const Variable x(normal_tensor({6, 3, 4}, 1));
  const Tensor lengths = labels_of({2, 6, 4});
  const auto layer = [&](const Variable& input, size_t k) {
    const auto& p = parameters;
    return lstm(context(), input, lengths,
                {p[k].item->variable, p[k + 1].item->variable, p[k + 2].item->variable,
                 p[k + 3].item->variable});
  };
  const Variable first = layer(x, 0);
  const std::vector<double> wanted = values_of(layer(dropout(context(), first, 0.5, 0), 4).value());
  CHECK(values_of(net.forward(context(), x, lengths).value()) == wanted);
  CHECK(values_of(layer(first, 4).value()) != wanted);
  CHECK(error_of([&] { Lstm(init, 4, 5, {.num_layers = 0}); }) ==
        "lstm: num_layers is 0, expected at least 1");
}

TEST_CASE("sequences: the padding row and frozen rows of an embedding get no gradient") {
  Initializer init(stream(), 1, DType::f64);
  const Embedding layer(init, 6, 3, {.padding = 0, .frozen = 2});
  const Variable y = layer.forward(context(), labels_of({0, 1, 2, 2, 5}));
  const std::vector<double> rows = values_of(layer.weight.variable.value());
  const std::vector<double> values = values_of(y.value());
  for (size_t j = 0; j < 3; ++j) {
    CHECK(values[j] == 0);
    CHECK(values[3 + j] == rows[3 + j]);
  }
  sum(context(), y).backward(stream());
  CHECK(values_of(layer.weight.variable.gradient()) ==
        std::vector<double>{0, 0, 0, 0, 0, 0, 2, 2, 2, 0, 0, 0, 0, 0, 0, 1, 1, 1});
}

// A bidirectional LSTM on sequences of several lengths against PyTorch's packed sequences; see
// tests/golden/README.md.

#include "framework/optimizer.h"
#include "models/bilstm.h"
#include "tests/golden_numbers.h"

using namespace flyball;
using namespace flyball::testing;
using golden::Json;

namespace {

constexpr int64_t kVocabulary = 50, kTime = 11, kBatch = 8, kClasses = 3, kSteps = 20;

BiLstmOptions net_options(const std::string& pool) {
  return {.vocabulary = kVocabulary,
          .embedding = 12,
          .hidden = 17,
          .num_layers = 2,
          .classes = kClasses,
          .dropout = 0,
          .pool = pool == "mean"  ? SequencePool::kMean
                  : pool == "max" ? SequencePool::kMax
                                  : SequencePool::kLast};
}

// The formula's values in place of the initialiser's.
void set_parameters(Module& module) {
  uint64_t number = 0;
  for (auto& parameter : parameters_of(module)) {
    Tensor& value = parameter.item->variable.mutable_value();
    const auto last = static_cast<double>(value.shape()[value.shape().rank() - 1]);
    std::vector<double> values(static_cast<size_t>(value.count()));
    for (int64_t i = 0; i < value.count(); ++i) {
      const double exact = (2 * golden::u(i, 1 + number) - 1) / std::sqrt(last);
      values[static_cast<size_t>(i)] = static_cast<double>(static_cast<float>(exact));
    }
    value.copy_from(stream(), tensor_of(value.shape(), values, value.dtype()));
    ++number;
  }
}

struct TextBatch {
  Tensor tokens, lengths, labels;
};

// With more padding than the longest sequence needs, where `padding` > 0.
TextBatch text_batch(uint64_t step, int64_t padding) {
  std::vector<int32_t> tokens(static_cast<size_t>((kTime + padding) * kBatch)), lengths, labels;
  for (int64_t b = 0; b < kBatch; ++b) {
    lengths.push_back(1 + static_cast<int32_t>(golden::bits(b, 3000 + step) % kTime));
    labels.push_back(static_cast<int32_t>(golden::bits(b, 2000 + step) % kClasses));
    for (int64_t t = 0; t < lengths.back(); ++t) {
      const int64_t i = t * kBatch + b;
      tokens[static_cast<size_t>(i)] =
          1 + static_cast<int32_t>(golden::bits(i, 1000 + step) % (kVocabulary - 1));
    }
  }
  const std::span<const int32_t> host(tokens);
  return {Tensor::from_host(stream(), {kTime + padding, kBatch}, host), labels_of(lengths),
          labels_of(labels)};
}

// A net of its own, trained for 20 steps.
class GoldenRun {
 public:
  GoldenRun(const std::string& pool, DType dtype, double lr, int64_t padding = 0)
      : init_(stream(), 1, dtype), net_(init_, net_options(pool)) {
    set_parameters(net_);
    ParameterArena arena(stream(), net_);
    LearningRate rate(stream(), ConstantRule{lr});
    Adam adam(stream(), arena, rate);
    for (uint64_t step = 0; step < kSteps; ++step) {
      const TextBatch batch = text_batch(step, padding);
      const Context context{.stream = stream(), .training = true, .seed = 1, .step = rate.step()};
      const CrossEntropy entropy = softmax_cross_entropy(
          context, net_.forward(context, batch.tokens, batch.lengths), batch.labels);
      entropy.loss.backward(stream());
      adam.enqueue_step({entropy.loss.value(), entropy.correct, kBatch}, rate, stream());
      losses.push_back(entropy.loss.value().item(stream()));
    }
    arena.check_guards(stream());
    weights = parameter_values(net_);
    for (auto& parameter : parameters_of(net_))
      tensors_.push_back(parameter.item->variable.value());
  }

  double worst_parameter(const Json& expected) const {
    REQUIRE(tensors_.size() == expected.size());
    double worst = 0;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      worst = std::max(worst, golden::distance(tensors_[i], expected[i]));
    }
    return worst;
  }

  std::vector<double> losses, weights;

 private:
  Initializer init_;
  BiLstm net_;
  std::vector<Tensor> tensors_;
};

}  // namespace

TEST_CASE("golden: a BiLSTM trains as in PyTorch on packed sequences, with each pooling") {
  const Json golden = golden::read("bilstm");
  for (const Json& run : golden["runs"]) {
    const std::string pool = run["pool"];
    const GoldenRun exact(pool, DType::f64, golden["lr"]);
    CHECK(golden::worst_relative(exact.losses, run["losses_f64"]) < 1e-8);
    CHECK(exact.worst_parameter(run["parameters_f64"]) < 1e-8);
    const GoldenRun single(pool, DType::f32, golden["lr"]);
    const double losses = golden::worst_relative(single.losses, run["losses_f32"]);
    MESSAGE(pool, ": f32 losses within ", losses);
    CHECK(losses < 1e-3);
  }
}

TEST_CASE("golden: longer padding leaves every loss and weight of 20 steps at the same bits") {
  for (const char* pool : {"mean", "max", "last"}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const GoldenRun tight(pool, dtype, 1e-2), loose(pool, dtype, 1e-2, 50);
      CHECK(tight.losses == loose.losses);
      CHECK(tight.weights == loose.weights);
    }
  }
}

TEST_CASE("golden: the comparison notices a wrong rate and another pooling") {
  const Json golden = golden::read("bilstm");
  const Json& mean = golden["runs"][0];
  const GoldenRun wrong_rate("mean", DType::f64, 1.001 * golden["lr"].get<double>());
  CHECK(golden::worst_relative(wrong_rate.losses, mean["losses_f64"]) > 1e-6);
  CHECK(wrong_rate.worst_parameter(mean["parameters_f64"]) > 1e-6);
  const GoldenRun other("max", DType::f64, golden["lr"]);
  CHECK(golden::worst_relative(other.losses, mean["losses_f64"]) > 1e-3);
}

TEST_CASE("bilstm: has as many parameters as PyTorch's") {
  Initializer init(stream(), 1);
  BiLstm net(init);
  CHECK(parameter_count(net) == 2236034);
}

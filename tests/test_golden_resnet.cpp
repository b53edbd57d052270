// ResNet-18's first steps against PyTorch's, from numbers that a formula gives; see
// tests/golden/README.md.

#include "framework/optimizer.h"
#include "models/resnet.h"
#include "models/task.h"
#include "tests/golden_numbers.h"

using namespace flyball;
using namespace flyball::testing;
using golden::Json;

namespace {

constexpr int64_t kSide = 16;

// The formula's values in place of the initialiser's; gammas are around 1.
void set_parameters(Module& module) {
  double fan_in = 1;
  uint64_t number = 0;
  for (auto& parameter : parameters_of(module)) {
    Tensor& value = parameter.item->variable.mutable_value();
    const int64_t count = value.count();
    const bool is_gamma = value.shape().rank() == 1 && parameter.name.ends_with("weight");
    if (value.shape().rank() > 1) {
      const int64_t inputs = count / value.shape()[0];
      fan_in = static_cast<double>(inputs);
    }
    std::vector<double> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const double symmetric = 2 * golden::u(i, 1 + number) - 1;
      const double exact = is_gamma ? 1 + symmetric / 2 : symmetric / std::sqrt(fan_in);
      values[static_cast<size_t>(i)] = static_cast<double>(static_cast<float>(exact));
    }
    value.copy_from(stream(), tensor_of(value.shape(), values, value.dtype()));
    ++number;
  }
}

// A network that trains as the file's run says.
class GoldenRun {
 public:
  GoldenRun(const Json& run, DType dtype)
      : batch_(run["batch"]),
        steps_(run["steps"]),
        dtype_(dtype),
        init_(stream(), 1, dtype),
        net_(init_, {.width = run["width"]}),
        arena_((set_parameters(net_), stream()), net_),
        rate_(stream(), ConstantRule{run["lr"]}) {}

  ResNet18& net() { return net_; }

  std::vector<double> train() {
    Adam adam(stream(), arena_, rate_);
    std::vector<double> losses;
    for (uint64_t step = 0; step < steps_; ++step) {
      const Tensor labels = golden::labels(batch_, step);
      const Context context{.stream = stream(), .training = true, .seed = 1, .step = rate_.step()};
      const CrossEntropy entropy =
          softmax_cross_entropy(context, net_.forward(context, input(step)), labels);
      entropy.loss.backward(stream());
      adam.enqueue_step({entropy.loss.value(), entropy.correct, batch_}, rate_, stream());
      losses.push_back(entropy.loss.value().item(stream()));
    }
    arena_.check_guards(stream());
    return losses;
  }

  // The batch after the last one: its loss, then the logits of its first image.
  std::vector<double> evaluate() {
    const NoGradient no_gradient;
    const Context context{.stream = stream()};
    const Variable logits = net_.forward(context, input(steps_));
    std::vector<double> numbers = {
        softmax_cross_entropy(context, logits, golden::labels(batch_, steps_))
            .loss.value()
            .item(stream())};
    const std::vector<double> first = values_of(logits.value().slice(0, 1));
    numbers.insert(numbers.end(), first.begin(), first.end());
    return numbers;
  }

 private:
  Variable input(uint64_t step) const {
    const Shape shape{batch_, kSide, kSide, 3};
    return Variable(tensor_of(shape, golden::inputs(shape.count(), step), dtype_));
  }

  int64_t batch_;
  uint64_t steps_;
  DType dtype_;
  Initializer init_;
  ResNet18 net_;
  ParameterArena arena_;
  LearningRate rate_;
};

// Of the parameters and of the running statistics from the file's.
double worst_parameter(Module& module, const Json& wanted) {
  double worst = 0;
  size_t number = 0;
  for (const auto& parameter : parameters_of(module)) {
    CHECK(wanted[number]["name"] == parameter.name);
    worst = std::max(worst, golden::distance(parameter.item->variable.value(), wanted[number++]));
  }
  CHECK(number == wanted.size());
  return worst;
}

double worst_buffer(Module& module, const Json& wanted) {
  double worst = 0;
  size_t number = 0;
  for (const auto& buffer : buffers_of(module)) {
    CHECK(wanted[number]["name"] == buffer.name);
    worst = std::max(worst, golden::distance(*buffer.item, wanted[number++]));
  }
  CHECK(number == wanted.size());
  return worst;
}

// |a - b| / |b| over all parameters.
double relative_distance(Module& a, Module& b) {
  const auto of_a = parameters_of(a), of_b = parameters_of(b);
  double difference = 0, norm = 0;
  for (size_t p = 0; p < of_a.size(); ++p) {
    const std::vector<double> x = values_of(of_a[p].item->variable.value());
    const std::vector<double> y = values_of(of_b[p].item->variable.value());
    for (size_t i = 0; i < x.size(); ++i) {
      difference += (x[i] - y[i]) * (x[i] - y[i]);
      norm += y[i] * y[i];
    }
  }
  return std::sqrt(difference / norm);
}

std::vector<double> wanted_evaluation(const Json& run) {
  std::vector<double> numbers = run["evaluation_logits_f64"];
  numbers.insert(numbers.begin(), run["evaluation_loss_f64"].get<double>());
  return numbers;
}

}  // namespace

TEST_CASE("golden: a narrow ResNet-18 trains and evaluates as in PyTorch") {
  const Json narrow = golden::read("resnet18")["narrow"];
  GoldenRun run(narrow, DType::f64);
  CHECK(golden::worst_relative(run.train(), narrow["losses_f64"]) < 1e-8);
  CHECK(worst_parameter(run.net(), narrow["parameters_f64"]) < 1e-8);
  CHECK(worst_buffer(run.net(), narrow["buffers_f64"]) < 1e-8);
  CHECK(golden::worst_relative(run.evaluate(), Json(wanted_evaluation(narrow))) < 1e-8);

  GoldenRun single(narrow, DType::f32);
  const double losses = golden::worst_relative(single.train(), narrow["losses_f32"]);
  const double evaluation =
      golden::worst_relative(single.evaluate(), Json(wanted_evaluation(narrow)));
  const double weights = relative_distance(single.net(), run.net());
  MESSAGE("f32: losses within ", losses, ", evaluation ", evaluation, ", weights ", weights);
  CHECK(losses < 1e-4);
  CHECK(evaluation < 1e-3);
  CHECK(weights < 1e-3);
}

TEST_CASE("golden: ResNet-18 at full width has PyTorch's first losses") {
  const Json full = golden::read("resnet18")["full"];
  GoldenRun run(full, DType::f32);
  CHECK(parameter_count(run.net()) == 11173962);
  const double worst = golden::worst_relative(run.train(), full["losses_f32"]);
  MESSAGE("losses within ", worst);
  CHECK(worst < 1e-3);
}

TEST_CASE("golden: the comparison notices a wrong rate and statistics that stand still") {
  Json narrow = golden::read("resnet18")["narrow"];
  narrow["lr"] = 1.001 * narrow["lr"].get<double>();
  GoldenRun wrong_rate(narrow, DType::f64);
  CHECK(golden::worst_relative(wrong_rate.train(), narrow["losses_f64"]) > 1e-6);
  CHECK(worst_parameter(wrong_rate.net(), narrow["parameters_f64"]) > 1e-7);
  CHECK(worst_buffer(wrong_rate.net(), narrow["buffers_f64"]) > 1e-7);
  narrow["steps"] = 0;
  GoldenRun untrained(narrow, DType::f64);
  CHECK(untrained.train().empty());
  CHECK(worst_buffer(untrained.net(), narrow["buffers_f64"]) > 1e-2);
}

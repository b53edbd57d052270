// Training trajectories against PyTorch's, from numbers that a formula gives; see
// tests/golden/README.md.

#include <memory>

#include "framework/optimizer.h"
#include "models/cnn.h"
#include "models/mlp.h"
#include "models/task.h"
#include "tests/golden_numbers.h"

using namespace flyball;
using namespace flyball::testing;
using golden::Json;

namespace {

constexpr int64_t kBatch = 16;

// The formula's values in place of the initialiser's. A layer's weight [out, ...] gives the fan_in
// of its bias too.
void set_parameters(Module& module) {
  double fan_in = 1;
  uint64_t number = 0;
  for (auto& parameter : parameters_of(module)) {
    Tensor& value = parameter.item->variable.mutable_value();
    if (value.shape().rank() > 1) {
      const int64_t inputs = value.count() / value.shape()[0];
      fan_in = static_cast<double>(inputs);
    }
    std::vector<double> values(static_cast<size_t>(value.count()));
    for (int64_t i = 0; i < value.count(); ++i) {
      const double exact = (2 * golden::u(i, 1 + number) - 1) / std::sqrt(fan_in);
      values[static_cast<size_t>(i)] = static_cast<double>(static_cast<float>(exact));
    }
    value.copy_from(stream(), tensor_of(value.shape(), values, value.dtype()));
    ++number;
  }
}

Batch golden_batch(uint64_t step, DType dtype) {
  return {.x = tensor_of({kBatch, 28, 28, 1}, golden::inputs(kBatch * 784, step), dtype),
          .labels = golden::labels(kBatch, step),
          .count = kBatch};
}

Model make_golden_model(const std::string& name, Initializer& init) {
  if (name == "cnn") return make_model<Cnn>(init, 0.0);
  return make_model<Mlp>(init, name == "mlp_simple" ? Mlp::simple() : Mlp::complex());
}

std::unique_ptr<Optimizer> make_golden_optimizer(const Json& what, ParameterArena& arena,
                                                 const LearningRate& rate) {
  if (what["name"] == "sgd") {
    return std::make_unique<Sgd>(stream(), arena, rate, SgdOptions{.momentum = what["momentum"]});
  }
  return std::make_unique<Adam>(stream(), arena, rate,
                                AdamOptions{.weight_decay = what.value("weight_decay", 0.0)});
}

// The losses of `steps` training steps; `module` and `arena` stay for a look at the weights.
std::vector<double> train(const Json& run, const Model& model, ParameterArena& arena, DType dtype) {
  LearningRate rate(stream(), ConstantRule{run["optimizer"]["lr"]});
  const auto optimizer = make_golden_optimizer(run["optimizer"], arena, rate);
  std::vector<double> losses;
  for (uint64_t step = 0; step < 20; ++step) {
    const Batch batch = golden_batch(step, dtype);
    const Context context{.stream = stream(), .training = true, .seed = 1, .step = rate.step()};
    const CrossEntropy entropy =
        softmax_cross_entropy(context, model.forward(context, batch), batch.labels);
    entropy.loss.backward(stream());
    optimizer->enqueue_step({entropy.loss.value(), entropy.correct, kBatch}, rate, stream());
    losses.push_back(entropy.loss.value().item(stream()));
  }
  arena.check_guards(stream());
  return losses;
}

// Of the parameters from the file's.
double worst_weight(Module& module, const Json& expected) {
  double worst = 0;
  size_t number = 0;
  for (const auto& parameter : parameters_of(module)) {
    worst = std::max(worst, golden::distance(parameter.item->variable.value(), expected[number++]));
  }
  CHECK(number == expected.size());
  return worst;
}

void check_model(const std::string& name) {
  const Json file = golden::read(name);
  for (const Json& run : file["runs"]) {
    INFO(name << " with " << run["optimizer"].dump());
    for (const DType dtype : {DType::f32, DType::f64}) {
      const std::string losses_key = dtype == DType::f32 ? "losses_f32" : "losses_f64";
      if (!run.contains(losses_key)) continue;
      Initializer init(stream(), 1, dtype);
      const Model model = make_golden_model(name, init);
      set_parameters(*model.module);
      ParameterArena arena(stream(), *model.module);
      const std::vector<double> losses = train(run, model, arena, dtype);
      if (dtype == DType::f32) {
        CHECK(golden::worst_relative(losses, run[losses_key]) < 1e-4);
      } else {
        CHECK(golden::worst_relative(losses, run[losses_key]) < 1e-8);
        CHECK(worst_weight(*model.module, run["parameters_f64"]) < 1e-8);
      }
    }
  }
}

}  // namespace

TEST_CASE("golden: the formula gives the documented numbers") {
  CHECK(golden::splitmix64(0) == 0xE220A8397B1DCDAF);
  CHECK(golden_batch(0, DType::f64).labels.to_host<int32_t>(stream()) ==
        std::vector<int32_t>{8, 6, 6, 9, 7, 8, 0, 3, 6, 1, 6, 6, 3, 6, 1, 7});
}

TEST_CASE("golden: the simple MLP trains as in PyTorch, with Adam and SGD") {
  check_model("mlp_simple");
}

TEST_CASE("golden: the complex MLP trains as in PyTorch, with Adam and AdamW") {
  check_model("mlp_complex");
}

TEST_CASE("golden: the CNN trains as in PyTorch") { check_model("cnn"); }

TEST_CASE("golden: the comparison notices a wrong optimizer and a wrong model") {
  const Json file = golden::read("mlp_simple");
  Json wrong = file["runs"][0];
  wrong["optimizer"]["lr"] = 1.001e-3;
  Initializer init(stream(), 1, DType::f64);
  const Model model = make_golden_model("mlp_simple", init);
  set_parameters(*model.module);
  ParameterArena arena(stream(), *model.module);
  CHECK(golden::worst_relative(train(wrong, model, arena, DType::f64),
                               file["runs"][0]["losses_f64"]) > 1e-6);
  CHECK(worst_weight(*model.module, file["runs"][0]["parameters_f64"]) > 1e-6);
}

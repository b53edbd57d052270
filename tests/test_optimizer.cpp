#include <limits>

#include "framework/allocator.h"
#include "framework/layers.h"
#include "framework/optimizer.h"
#include "framework/step_log.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A bare set of parameters: two weights and a bias of odd sizes.
struct Weights : Module {
  explicit Weights(Initializer& init)
      : first(init.weight({3, 5}, 5, 3)), bias(init.bias(7, 5)), second(init.weight({11}, 11, 1)) {}
  void visit(Visitor& visitor) override {
    visitor("first", first);
    visitor("bias", bias);
    visitor("second", second);
  }
  Parameter first, bias, second;
};

// Parameters in an arena with an optimizer, and gradients and losses set by hand.
struct Bench {
  explicit Bench(const Rule& rule, const Horizon& horizon = {}, const AdamOptions& options = {})
      : weights(init),
        arena(stream(), weights),
        rate(stream(), rule, horizon),
        adam(stream(), arena, rate, options) {}

  void set_gradient(double value) {
    for (auto& parameter : parameters_of(weights)) {
      Variable& variable = parameter.item->variable;
      Context context{.stream = stream()};
      sum(context, scale(context, variable, value)).backward(stream());
    }
  }
  void step(double gradient, double loss) {
    set_gradient(gradient);
    adam.enqueue_step({tensor_of({1}, {loss}), labels_of({1}), 2}, rate, stream());
  }
  std::vector<double> values() { return parameter_values(weights); }

  Initializer init{stream(), 5, DType::f64};
  Weights weights;
  ParameterArena arena;
  LearningRate rate;
  Adam adam;
};

}  // namespace

TEST_CASE("arena: parameters keep their values, decayed ones come first, starts are aligned") {
  Initializer init(stream(), 5, DType::f64);
  Weights weights(init);
  const std::vector<double> first = values_of(weights.first.variable.value());
  const std::vector<double> bias = values_of(weights.bias.variable.value());
  ParameterArena arena(stream(), weights);
  CHECK(values_of(weights.first.variable.value()) == first);
  CHECK(values_of(weights.bias.variable.value()) == bias);
  const auto* base = static_cast<const double*>(arena.values().raw());
  const double* second = weights.second.variable.value().data<double>();
  CHECK(weights.first.variable.value().data<double>() == base);
  CHECK(second < weights.bias.variable.value().data<double>());
  CHECK((second - base) % 8 == 0);
  if (!allocator_is_passthrough()) {
    REQUIRE(arena.segment_count() == 2);
    CHECK(arena.host_segments()[0].decay == 1);
    CHECK(arena.host_segments()[1].decay == 0);
  } else {
    CHECK(arena.segment_count() == 3);
  }
  arena.check_guards(stream());
}

TEST_CASE("arena: a write behind a parameter is found, by name") {
#if defined(__SANITIZE_ADDRESS__)
  return;  // there the write itself is an error
#endif
  Bench bench(ConstantRule{1e-3});
  double* bias = bench.weights.bias.variable.mutable_value().mutable_data<double>();
  bias[7] = 3;
  CHECK(contains(error_of([&] { bench.arena.check_guards(stream()); }),
                 "something wrote 1 elements behind the values of bias"));
}

TEST_CASE("arena: a parameter that no backward pass reached gets a zero gradient, not an old one") {
  Bench bench(ConstantRule{1e-3});
  bench.step(2, 1);
  const std::vector<double> before = values_of(bench.weights.bias.variable.value());
  const Context context{.stream = stream()};
  sum(context, bench.weights.first.variable).backward(stream());
  bench.adam.enqueue_step({tensor_of({1}, {1}), labels_of({1}), 2}, bench.rate, stream());
  // With g = 0 Adam still moves along its first moment, by less than a full step.
  CHECK(values_of(bench.weights.bias.variable.gradient()) == std::vector<double>(7, 0));
  const double moved = before[0] - values_of(bench.weights.bias.variable.value())[0];
  CHECK(moved > 0);
  CHECK(moved < 1e-3);
}

TEST_CASE("adam: the first step moves every weight by the rate, against the gradient's sign") {
  Bench bench(ConstantRule{1e-2});
  const std::vector<double> before = values_of(bench.weights.first.variable.value());
  bench.step(-3, 1);
  const std::vector<double> after = values_of(bench.weights.first.variable.value());
  for (size_t i = 0; i < before.size(); ++i)
    CHECK(after[i] - before[i] == doctest::Approx(1e-2).epsilon(1e-6).scale(0));
}

TEST_CASE("adam: weight decay spares biases") {
  Bench bench(ConstantRule{1e-1}, {}, {.weight_decay = 0.5});
  const std::vector<double> weight = values_of(bench.weights.first.variable.value());
  const std::vector<double> bias = values_of(bench.weights.bias.variable.value());
  bench.step(0, 1);
  for (size_t i = 0; i < weight.size(); ++i) {
    CHECK(values_of(bench.weights.first.variable.value())[i] == doctest::Approx(weight[i] * 0.95));
  }
  CHECK(values_of(bench.weights.bias.variable.value()) == bias);
}

TEST_CASE("adam: clipping scales the gradient to the norm, and leaves a small one alone") {
  // 33 elements with gradient 2: norm 2 sqrt(33). The first moment shows the clipped gradient.
  const double norm = 2 * std::sqrt(33.0);
  for (const double limit : {norm / 4, norm * 2}) {
    Bench bench(ConstantRule{1e-3}, {}, {.clip_norm = limit});
    bench.step(2, 1);
    const double clipped = 2 * std::min(1.0, limit / norm);
    CHECK(values_of(bench.adam.state()[0].second)[0] == doctest::Approx(0.1 * clipped).scale(0));
  }
}

TEST_CASE("adam: a step whose loss is not finite changes nothing and is logged as skipped") {
  for (const double bad : {kNan, std::numeric_limits<double>::infinity()}) {
    Bench bench(ConstantRule{1e-2});
    StepLog log(stream(), bench.rate);
    bench.step(1, 0.5);
    const std::vector<double> before = bench.values();
    const std::vector<double> moments = values_of(bench.adam.state()[0].second);
    bench.step(1, bad);
    CHECK(bench.values() == before);
    CHECK(values_of(bench.adam.state()[0].second) == moments);
    bench.step(1, 0.5);
    CHECK(bench.values() != before);
    const std::vector<StepRecord> records = log.drain();
    REQUIRE(records.size() == 3);
    CHECK(records[0].skipped == 0);
    CHECK(records[1].skipped == 1);
    CHECK(records[2].step == 2);
    CHECK(records[2].correct_fraction == 0.5);
  }
}

TEST_CASE("adam: three losses in a row that are not finite bring the snapshot back") {
  Bench bench(make_adaptive(), {.steps_per_epoch = 100, .total_steps = 400});
  StepLog log(stream(), bench.rate);
  std::vector<StepRecord> records;
  for (int i = 0; i < 200; ++i) bench.step(1, 1.0 / (1 + i));
  const double rate_before = bench.rate.read_state(stream()).rate;
  for (int i = 0; i < 3; ++i) bench.step(1, kNan);
  CHECK(bench.rate.read_state(stream()).action == Action::kRollback);
  const std::vector<double> abandoned = bench.values();
  const std::vector<double> snapshot = values_of(bench.adam.state()[3].second);
  bench.step(1, 0.01);
  CHECK(bench.values() != abandoned);
  CHECK(values_of(bench.weights.first.variable.value()) ==
        std::vector<double>(snapshot.begin(), snapshot.begin() + 15));  // the first in the arena
  const std::vector<double> moments = values_of(bench.adam.state()[0].second);
  CHECK(moments == std::vector<double>(moments.size(), 0));
  CHECK(bench.rate.read_state(stream()).rate < 0.3 * rate_before);
  int snapshots = 0, rollbacks = 0;
  for (const StepRecord& record : log.drain()) {
    snapshots += record.action == Action::kSnapshot ? 1 : 0;
    rollbacks += record.action == Action::kRollback ? 1 : 0;
  }
  CHECK(snapshots >= 1);
  CHECK(rollbacks == 1);
}

TEST_CASE("learning rate: linear reaches zero at the end, the log holds every step's rate") {
  Bench bench(LinearRule{1.0}, {.steps_per_epoch = 5, .total_steps = 10});
  StepLog log(stream(), bench.rate);
  for (int i = 0; i < 10; ++i) bench.step(1, 1);
  const std::vector<StepRecord> records = log.drain();
  REQUIRE(records.size() == 10);
  for (size_t i = 0; i < 10; ++i) {
    CHECK(records[i].step == static_cast<int64_t>(i));
    CHECK(records[i].learning_rate == doctest::Approx(1 - static_cast<double>(i) / 10));
  }
  CHECK(bench.rate.read_state(stream()).rate == 0);
  CHECK(bench.rate.read_signals(stream()).epoch == 2);
  CHECK(log.drain().empty());
}

TEST_CASE("learning rate: validation figures reach the signals") {
  LearningRate rate(stream(), ConstantRule{1e-3});
  rate.set_validation(stream(), 0.25, 0.75);
  rate.set_validation(stream(), 0.125, 0.875);
  const StepSignals signals = rate.read_signals(stream());
  CHECK(signals.validation_loss == 0.125);
  CHECK(signals.validation_accuracy == 0.875);
  CHECK(signals.validations == 2);
}

TEST_CASE("learning rate: state and signals are restored exactly, another rule's are refused") {
  Bench bench(make_adaptive(), {.total_steps = 100});
  for (int i = 0; i < 20; ++i) bench.step(1, 1.0 / (1 + i));
  const LearningRateState state = bench.rate.read_state(stream());
  const StepSignals signals = bench.rate.read_signals(stream());
  LearningRate other(stream(), make_adaptive(), {.total_steps = 100});
  other.restore(stream(), state, signals);
  CHECK(other.read_state(stream()).rate == state.rate);
  CHECK(other.read_signals(stream()).step == 20);
  LearningRate constant(stream(), ConstantRule{1});
  CHECK(contains(error_of([&] { constant.restore(stream(), state, signals); }), "another rule"));
}

TEST_CASE("step log: a ring that overflows says how many steps it lost") {
  Bench bench(ConstantRule{1e-3});
  StepLog log(stream(), bench.rate);
  const int64_t steps = LearningRate::kLogCapacity + 37;
  for (int64_t i = 0; i < steps; ++i) {
    bench.adam.enqueue_step({tensor_of({1}, {1}), labels_of({1}), 2}, bench.rate, stream());
  }
  const std::vector<StepRecord> records = log.drain();
  CHECK(static_cast<int64_t>(records.size()) == LearningRate::kLogCapacity);
  CHECK(records.front().step == 37);
  CHECK(records.back().step == steps - 1);
  CHECK(log.lost() == 37);
}

TEST_CASE("sgd: momentum adds up") {
  Initializer init(stream(), 5, DType::f64);
  Weights weights(init);
  ParameterArena arena(stream(), weights);
  LearningRate rate(stream(), ConstantRule{0.1});
  Sgd sgd(stream(), arena, rate);
  const Context context{.stream = stream()};
  const double start = values_of(weights.second.variable.value())[0];
  for (int i = 0; i < 2; ++i) {
    sum(context, weights.second.variable).backward(stream());
    sgd.enqueue_step({tensor_of({1}, {1}), labels_of({0}), 1}, rate, stream());
  }
  CHECK(values_of(weights.second.variable.value())[0] ==
        doctest::Approx(start - 0.1 * 1 - 0.1 * 1.9));
  CHECK(rate.read_signals(stream()).step == 2);
}

TEST_CASE("optimizer: wrong options and wrong losses are refused") {
  CHECK(contains(error_of([] { Bench(ConstantRule{1e-3}, {}, {.weight_decay = -1}); }),
                 "weight_decay is -1"));
  CHECK(contains(error_of([] { Bench(ConstantRule{1e-3}, {.steps_per_epoch = 0}); }),
                 "steps_per_epoch is 0"));
  Bench bench(ConstantRule{1e-3});
  CHECK(contains(
      error_of([&] {
        bench.adam.enqueue_step({tensor_of({2}, {1, 1}), labels_of({1}), 2}, bench.rate, stream());
      }),
      "adam: loss has shape [2], expected [1]"));
}

// Optimizers and learning-rate rules together: every schedule drives Adam and SGD.

#include <algorithm>
#include <cstring>
#include <limits>

#include "framework/layers.h"
#include "framework/optimizer.h"
#include "tests/rule_streams.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kWeights = 11;

struct Weights : Module {
  explicit Weights(Initializer& init) : all(init.weight({kWeights}, kWeights, 1)) {}
  void visit(Visitor& visitor) override { visitor("all", all); }
  Parameter all;
};

// One parameter in an arena with an optimizer; gradients, all of one value, and losses by hand.
template <class Optimizer>
struct Bench {
  explicit Bench(const Rule& rule, const Horizon& horizon = {})
      : weights(init),
        arena(stream(), weights),
        rate(stream(), rule, horizon),
        optimizer(stream(), arena, rate) {}

  void step(double gradient, double loss) {
    const Context context{.stream = stream()};
    sum(context, scale(context, weights.all.variable, gradient)).backward(stream());
    optimizer.enqueue_step({tensor_of({1}, {loss}), labels_of({1}), 2}, rate, stream());
  }
  double rate_now() { return rate.read_state(stream()).rate; }

  Initializer init{stream(), 5, DType::f64};
  Weights weights;
  ParameterArena arena;
  LearningRate rate;
  Optimizer optimizer;
};

// The first step whose rate is not what the rule says of that step's signals, or `steps`; sets
// whether all weights stayed finite.
template <class Optimizer>
int64_t first_wrong_rate(const NamedSchedule& schedule, int64_t steps, bool& finite) {
  Rule rule = make_rule(schedule.name, 0.02, schedule.options);
  Bench<Optimizer> bench(rule, {.steps_per_epoch = 20, .total_steps = steps});
  RecordedRun run{.has_spike = true, .has_bad_losses = true};
  StepSignals made;
  made.steps_per_epoch = 20;
  for (int64_t step = 0; step < steps; ++step, ++made.step) {
    const int64_t validations = made.validations;
    run.next(made);
    if (made.validations != validations) {
      bench.rate.set_validation(stream(), made.validation_loss, made.validation_accuracy);
    }
    bench.step(step % 3 == 0 ? -0.5 : 1, made.loss);
    StepSignals seen = bench.rate.read_signals(stream());
    seen.step -= 1;
    seen.epoch = seen.step / seen.steps_per_epoch;
    if (update(rule, seen).rate != bench.rate_now()) return step;
  }
  const std::vector<double> values = parameter_values(bench.weights);
  finite = std::all_of(values.begin(), values.end(), [](double x) { return is_finite(x); });
  return steps;
}

}  // namespace

TEST_CASE("optimizers: every schedule drives adam and sgd through spikes and bad losses") {
  constexpr int64_t kSteps = 170;
  for (const NamedSchedule& schedule : all_schedules()) {
    INFO(schedule.title());
    bool finite = false;
    CHECK(first_wrong_rate<Adam>(schedule, kSteps, finite) == kSteps);
    CHECK(finite);
    finite = false;
    CHECK(first_wrong_rate<Sgd>(schedule, kSteps, finite) == kSteps);
    CHECK(finite);
  }
}

TEST_CASE("sgd: gives the sums of the gradient with the momentum of the step before") {
  Bench<Sgd> bench(make_rule("hypergradient", 0.5, {{"beta", "1e-3"}}));
  const std::vector<double> gradients = {1, 2, -1, 0.5};
  double momentum = 0, rate = 0.5;
  for (const double gradient : gradients) {
    bench.step(gradient, 1);
    const StepSignals signals = bench.rate.read_signals(stream());
    CHECK(signals.gradient_dot_update == doctest::Approx(kWeights * gradient * momentum));
    CHECK(signals.gradient_norm_squared == doctest::Approx(kWeights * gradient * gradient));
    CHECK(signals.update_norm_squared == doctest::Approx(kWeights * momentum * momentum));
    rate += 1e-3 * kWeights * gradient * momentum;
    CHECK(bench.rate_now() == doctest::Approx(rate));
    momentum = 0.9 * momentum + gradient;
  }
  bench.step(1, kNan);  // skipped: no sums, no change
  CHECK(bench.rate.read_signals(stream()).gradient_norm_squared == 0);
  CHECK(bench.rate_now() == doctest::Approx(rate));
}

TEST_CASE("sgd: three losses in a row that are not finite bring the snapshot back") {
  Bench<Sgd> bench(make_adaptive(), {.steps_per_epoch = 100, .total_steps = 400});
  for (int i = 0; i < 200; ++i) bench.step(1, 1.0 / (1 + i));
  const double rate_before = bench.rate_now();
  for (int i = 0; i < 3; ++i) bench.step(1, kNan);
  REQUIRE(bench.rate.read_state(stream()).action == Action::kRollback);
  REQUIRE(bench.optimizer.state().size() == 2);
  const std::vector<double> snapshot = values_of(bench.optimizer.state()[1].second);
  const std::vector<double> abandoned = parameter_values(bench.weights);
  bench.step(1, 0.01);
  CHECK(parameter_values(bench.weights) != abandoned);
  CHECK(parameter_values(bench.weights) ==
        std::vector<double>(snapshot.begin(), snapshot.begin() + kWeights));
  const std::vector<double> momentum = values_of(bench.optimizer.state()[0].second);
  CHECK(momentum == std::vector<double>(momentum.size(), 0));
  CHECK(bench.rate_now() < 0.3 * rate_before);
}

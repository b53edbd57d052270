// Batch norm as an operation, as a layer and behind a convolution.

#include <limits>

#include "framework/allocator.h"
#include "framework/safetensors.h"
#include "models/resnet.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

Context training() { return {.stream = stream(), .training = true}; }
Context recomputing() { return {.stream = stream(), .training = true, .recompute = true}; }
Context evaluation() { return {.stream = stream()}; }

Variable filled(int64_t count, double value) {
  return Variable(tensor_of({count}, std::vector<double>(static_cast<size_t>(count), value)), true);
}

RunningStatistics running_of(int64_t c, double mean, double var) {
  return {.mean = filled(c, mean).value(), .var = filled(c, var).value()};
}

std::vector<double> normalised(const Context& context, const Tensor& x, RunningStatistics& running,
                               const BatchNormOptions& options = {}) {
  const int64_t c = x.shape()[x.shape().rank() - 1];
  return values_of(
      batch_norm(context, Variable(x), filled(c, 2), filled(c, 0.5), running, options).value());
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace

TEST_CASE("batch_norm: running statistics follow the batch's, with the unbiased variance") {
  const Tensor x = tensor_of({4, 1}, {1, 2, 3, 6});
  RunningStatistics running = running_of(1, 10, 20);
  const std::vector<double> y = normalised(training(), x, running, {.momentum = 0.25});
  // mean 3, variance 14 / 4, unbiased 14 / 3
  CHECK(values_of(running.mean)[0] == doctest::Approx(0.75 * 10 + 0.25 * 3).epsilon(1e-14));
  CHECK(values_of(running.var)[0] == doctest::Approx(0.75 * 20 + 0.25 * 14 / 3).epsilon(1e-14));
  CHECK(y[3] == doctest::Approx(2 * (6 - 3) / std::sqrt(3.5 + 1e-5) + 0.5).epsilon(1e-14));
}

TEST_CASE("batch_norm: evaluation normalises with the running statistics and leaves them") {
  const Tensor x = tensor_of({1, 2}, {1, -4});
  RunningStatistics running = running_of(2, -1, 4);
  const std::vector<double> y = normalised(evaluation(), x, running, {.relu = true});
  CHECK(y[0] == doctest::Approx(2 * 2 / std::sqrt(4 + 1e-5) + 0.5).epsilon(1e-14));
  CHECK(y[1] == 0);
  CHECK(values_of(running.mean) == std::vector<double>{-1, -1});
  CHECK(values_of(running.var) == std::vector<double>{4, 4});
}

TEST_CASE("batch_norm: values that are not finite do not reach the running statistics") {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    RunningStatistics running = running_of(2, 1, 2);
    normalised(training(), tensor_of({3, 2}, {1, 5, bad, 6, 2, 10}), running);
    CHECK(values_of(running.mean)[0] == 1);
    CHECK(values_of(running.var)[0] == 2);
    CHECK(values_of(running.mean)[1] == doctest::Approx(0.9 + 0.1 * 7).epsilon(1e-14));
    CHECK(values_of(running.var)[1] == doctest::Approx(1.8 + 0.1 * 7).epsilon(1e-14));
  }
}

TEST_CASE("batch_norm: refuses what does not fit") {
  RunningStatistics running = running_of(3, 0, 1);
  const Variable x(normal_tensor({2, 2, 2, 3}, 1)), three = filled(3, 1), four = filled(4, 1);
  const auto refusal = [&](const Context& context, const Variable& of, const Variable& gamma,
                           const Variable& beta, const BatchNormOptions& options = {}) {
    return error_of([&] { batch_norm(context, of, gamma, beta, running, options); });
  };
  CHECK(refusal(training(), x, three, three) == "");
  CHECK(refusal(training(), x, four, three) ==
        "batch_norm: gamma has shape [4], expected [3] (channels of x)");
  CHECK(refusal(training(), x, three, four) ==
        "batch_norm: beta has shape [4], expected [3] (channels of x)");
  CHECK(refusal(training(), three, three, three) ==
        "batch_norm: x has shape [3], expected at least 2 axes");
  CHECK(refusal(training(), Variable(normal_tensor({1, 1, 1, 3}, 1)), three, three) ==
        "batch_norm: x has shape [1,1,1,3], expected at least 2 values of each channel in "
        "training");
  CHECK(refusal(evaluation(), Variable(normal_tensor({1, 1, 1, 3}, 1)), three, three) == "");
  CHECK(refusal(training(), Variable(normal_tensor({2, 3}, 1, DType::f32)), three, three) ==
        "batch_norm: gamma is f64, expected f32");
  CHECK(refusal(training(), x, three, three, {.residual = three}) ==
        "batch_norm: residual has shape [3], expected [2,2,2,3] (shape of x)");
  CHECK(refusal(training(), x, three, three, {.column_sums = normal_tensor({2, 2, 3}, 1)}) ==
        "batch_norm: column sums has shape [2,2,3], expected [1,2,3] (sums of tiles of rows of "
        "x)");
  running = running_of(2, 0, 1);
  CHECK(refusal(training(), x, three, three) ==
        "batch_norm: running mean has shape [2], expected [3] (channels of x)");
}

TEST_CASE("batch_norm: no gradient flows back through evaluation") {
  RunningStatistics running = running_of(3, 0, 1);
  const Variable x(normal_tensor({4, 3}, 1), true);
  const Variable y = batch_norm(evaluation(), x, filled(3, 1), filled(3, 0), running);
  CHECK(error_of([&] { y.backward(stream(), y.value()); }) ==
        "batch_norm: a gradient flows back through evaluation, expected training");
}

TEST_CASE("batch_norm: the convolution's column sums give what a pass over x gives") {
  const Variable images(normal_tensor({5, 7, 7, 3}, 1)), filters(normal_tensor({6, 3, 3, 3}, 2));
  const Variable gamma(normal_tensor({6}, 3)), beta(normal_tensor({6}, 4));
  // Values around 1000, so that sums of squares alone would not do.
  const Variable bias(tensor_of({6}, std::vector<double>(6, 1000)));
  Tensor sums;
  const Variable x = conv2d(training(), images, filters, bias, {.padding = 1}, &sums);
  RunningStatistics with = running_of(6, 0, 1), without = running_of(6, 0, 1);
  const Variable y = batch_norm(training(), x, gamma, beta, with, {.column_sums = sums});
  const Variable wanted = batch_norm(training(), x, gamma, beta, without);
  CHECK(largest_difference(values_of(y.value()), values_of(wanted.value())) < 1e-10);
  CHECK(largest_difference(values_of(with.mean), values_of(without.mean)) < 1e-10);
  CHECK(largest_difference(values_of(with.var), values_of(without.var)) < 1e-10);
  Tensor wrong = sums.clone(stream());
  wrong.fill(stream(), 64);
  RunningStatistics unused = running_of(6, 0, 1);
  const Variable z = batch_norm(training(), x, gamma, beta, unused, {.column_sums = wrong});
  CHECK(largest_difference(values_of(z.value()), values_of(wanted.value())) > 1e-2);
}

TEST_CASE("batch_norm: its result is computed again where all that takes is kept anyway") {
  RunningStatistics running = running_of(3, 0, 1);
  const Variable x(normal_tensor({4, 3}, 1), true), plain(normal_tensor({4, 3}, 2));
  const auto norm = [&](const Context& context, const BatchNormOptions& options) {
    return batch_norm(context, x, filled(3, 2), filled(3, 0.5), running, options);
  };
  CHECK(norm(training(), {.relu = true}).recomputed() == nullptr);
  const Variable y = norm(recomputing(), {.relu = true});
  REQUIRE(y.recomputed() != nullptr);
  CHECK(values_of(y.recomputed()->get(stream())) == values_of(y.value()));
  const Variable sum = norm(recomputing(), {.residual = y});
  REQUIRE(sum.recomputed() != nullptr);
  CHECK(values_of(sum.recomputed()->get(stream())) == values_of(sum.value()));
  CHECK(norm(recomputing(), {.residual = plain}).recomputed() == nullptr);
  {
    const NoGradient no_gradient;
    CHECK(norm(recomputing(), {.relu = true}).recomputed() == nullptr);
  }
  Tensor written = y.value();
  written.fill(stream(), 3);
  CHECK(y.recomputed() == nullptr);
}

TEST_CASE("resnet: what is computed again gives the same gradients, and takes less memory") {
  const Variable x(normal_tensor({8, 16, 16, 3}, 1, DType::f32));
  const Tensor labels = labels_of({0, 1, 2, 3, 4, 5, 6, 7});
  struct Pass {
    std::vector<double> gradients;
    int64_t kept_bytes = 0;
  };
  const auto pass = [&](const Context& context) {
    Initializer init(stream(), 1);
    ResNet18 net(init, {.width = 4});
    const int64_t before = allocator(stream().device()).counters().live_bytes;
    const Variable loss = softmax_cross_entropy(context, net.forward(context, x), labels).loss;
    Pass result;
    result.kept_bytes = allocator(stream().device()).counters().live_bytes - before;
    loss.backward(stream());
    for (const auto& parameter : parameters_of(net)) {
      const std::vector<double> more = values_of(parameter.item->variable.gradient());
      result.gradients.insert(result.gradients.end(), more.begin(), more.end());
    }
    return result;
  };
  const Pass kept = pass(training()), again = pass(recomputing());
  CHECK(again.gradients == kept.gradients);
  CHECK(static_cast<double>(again.kept_bytes) < 0.6 * static_cast<double>(kept.kept_bytes));
}

TEST_CASE("resnet: a block whose last gamma is zero starts as the ReLU of its shortcut") {
  Initializer init(stream(), 1, DType::f64);
  const Variable x(normal_tensor({2, 4, 4, 3}, 1));
  const std::vector<double> wanted = values_of(relu(training(), x).value());
  const BasicBlock zero(init, 3, 3, 1, true), one(init, 3, 3, 1, false);
  CHECK(values_of(zero.forward(training(), x).value()) == wanted);
  CHECK(largest_difference(values_of(one.forward(training(), x).value()), wanted) > 0.1);
}

TEST_CASE("resnet: a saved model evaluates the same after loading, running statistics included") {
  const TemporaryFolder folder;
  const Variable x(normal_tensor({2, 8, 8, 3}, 1, DType::f32));
  Initializer init(stream(), 1), other_init(stream(), 2);
  ResNet18 net(init, {.width = 2}), other(other_init, {.width = 2});
  net.forward(training(), x);
  const auto evaluated = [&](const ResNet18& of) {
    return values_of(of.forward(evaluation(), x).value());
  };
  const std::vector<double> wanted = evaluated(net);
  save_model(folder.path() / "model.safetensors", net, stream(), {});
  CHECK(evaluated(other) != wanted);
  load_model(folder.path() / "model.safetensors", other, stream());
  CHECK(evaluated(other) == wanted);
  net.forward(training(), x);
  CHECK(evaluated(net) != wanted);
}

#include "tests/gradient_check.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

using Inputs = std::vector<Variable>;

// Integers: with a bias of halves they keep sums away from the kink of a ReLU.
Tensor lattice_tensor(const Shape& shape, uint64_t seed, double offset = 0) {
  std::vector<double> values;
  for (int64_t i = 0; i < shape.count(); ++i) {
    values.push_back(
        static_cast<double>(philox_at(static_cast<uint64_t>(i), 0, 0, seed).word[0] % 5) - 2 +
        offset);
  }
  return tensor_of(shape, values);
}

void check(const GradientCase& gradient) { CHECK(check_gradient(stream(), gradient, 1) == ""); }

}  // namespace

TEST_CASE("gradients: every differentiable case agrees with central differences") {
  int checked = 0;
  for (const OpCase& op : op_cases()) {
    if (op.benchmark || !op.differentiable || !op.runs(DType::f64, Device::Kind::cpu)) continue;
    check(gradient_case(stream(), op, 1));
    ++checked;
  }
  MESSAGE(checked, " cases");
  CHECK(checked > 0);
}

TEST_CASE("gradients: mean, reshape and flatten") {
  check({"mean", {normal_tensor({5, 7}, 1)}, [](const Context& context, const Inputs& v) {
           return mean(context, v[0]);
         }});
  check({"reshape", {normal_tensor({4, 6}, 2)}, [](const Context& context, const Inputs& v) {
           return multiply(context, reshape(v[0], {2, 12}), reshape(v[0], {2, 12}));
         }});
  check({"flatten", {normal_tensor({3, 2, 2, 2}, 3)}, [](const Context&, const Inputs& v) {
           return flatten(v[0]);
         }});
}

TEST_CASE("gradients: an input that an operation takes twice gets both gradients") {
  check({"matmul(x, x)", {normal_tensor({6, 6}, 1)}, [](const Context& context, const Inputs& v) {
           return matmul(context, v[0], v[0]);
         }});
  check({"multiply(x, x)", {normal_tensor({33}, 2)}, [](const Context& context, const Inputs& v) {
           return multiply(context, v[0], v[0]);
         }});
  check({"add(x, x)", {normal_tensor({33}, 3)}, [](const Context& context, const Inputs& v) {
           return add(context, v[0], v[0]);
         }});
  check({"linear(x, x)", {normal_tensor({5, 5}, 4)}, [](const Context& context, const Inputs& v) {
           return linear(context, v[0], v[0], Variable());
         }});
  check({"conv2d(x, x)",
         {normal_tensor({2, 3, 3, 2}, 5)},
         [](const Context& context, const Inputs& v) {
           return conv2d(context, v[0], v[0], Variable(), {.padding = 1});
         }});
}

TEST_CASE("gradients: an interior result with several consumers adds up in each kernel") {
  // Every operation below meets a destination that holds a gradient already: its accumulate path.
  check({"fan-out",
         {normal_tensor({2, 6, 6, 3}, 1), normal_tensor({3, 3, 3, 3}, 2)},
         [](const Context& context, const Inputs& v) {
           const Variable x = scale(context, v[0], 1.5);
           const Variable filters = scale(context, v[1], 0.5);
           Variable y = sum(context, conv2d(context, x, filters, Variable(), {.padding = 1}));
           const auto also = [&](const Variable& more) { y = add(context, y, more); };
           also(mean(context, x));
           also(sum(context, multiply(context, x, x)));
           also(sum(context, average_pool2d(context, x, {.window = 3, .stride = 2, .padding = 1})));
           also(sum(context, global_average_pool(context, x)));
           also(sum(context, dropout(context, x, 0.4, 2)));
           also(sum(context, scale(context, x, -2)));
           also(sum(context, conv2d(context, x, filters, Variable(), {.stride = 2})));
           const Variable rows = flatten(x);
           also(sum(context, matmul(context, rows, transpose(context, rows))));
           return y;
         }});
}

TEST_CASE("gradients: accumulation through the ReLU, max pooling and the loss") {
  // Distinct multiples of 0.1, none of them 0.
  std::vector<double> values;
  for (int64_t i = 0; i < 2 * 6 * 6 * 2; ++i) {
    values.push_back(0.1 * (static_cast<double>(i * 37 % 144) - 71.5));
  }
  const Tensor labels = labels_of({3, 17});
  check({"kinks",
         {tensor_of({2, 6, 6, 2}, values)},
         [labels](const Context& context, const Inputs& v) {
           const Variable x = scale(context, v[0], 2);
           Variable y = sum(context, relu(context, x));
           y = add(context, y, sum(context, max_pool2d(context, x)));
           y = add(context, y,
                   sum(context, max_pool2d(context, x, {.window = 3, .stride = 1, .relu = true})));
           const Variable loss = softmax_cross_entropy(context, flatten(x), labels, 0.1).loss;
           return add(context, y, scale(context, loss, 3));
         }});
}

namespace {

// In training, with running statistics that nobody reads.
Variable normalise(const Context& context, const Variable& x, const Variable& gamma,
                   const Variable& beta, const BatchNormOptions& options) {
  const Context training{.stream = context.stream, .training = true};
  const Shape c = gamma.shape();
  RunningStatistics running{.mean = Tensor::zeros(context.stream, c, x.dtype()),
                            .var = Tensor::zeros(context.stream, c, x.dtype())};
  return batch_norm(training, x, gamma, beta, running, options);
}

// Of 12 rows |x - mean| / deviation is below sqrt(11): with gammas of 0.2, betas of +-2 and
// residuals below 1 nothing comes near the kink of the ReLU.
Tensor small_gamma() { return tensor_of({4}, {0.2, -0.2, 0.15, 0.1}); }
Tensor large_beta() { return tensor_of({4}, {2, -2, 2, -2}); }
Tensor small_residual(const Shape& shape, uint64_t seed) {
  std::vector<double> values = normal_values(shape.count(), seed);
  for (double& value : values) value = std::tanh(value);
  return tensor_of(shape, values);
}

}  // namespace

TEST_CASE("gradients: batch norm with its fused ReLU and residual") {
  const Shape shape{3, 2, 2, 4};
  check({"relu",
         {normal_tensor(shape, 1), small_gamma(), large_beta()},
         [](const Context& context, const Inputs& v) {
           return normalise(context, v[0], v[1], v[2], {.relu = true});
         }});
  check({"relu and residual",
         {normal_tensor(shape, 1), small_gamma(), large_beta(), small_residual(shape, 2)},
         [](const Context& context, const Inputs& v) {
           return normalise(context, v[0], v[1], v[2], {.relu = true, .residual = v[3]});
         }});
  for (const bool relu : {false, true}) {
    check({"x is the residual too",
           {small_residual(shape, 3), small_gamma(), large_beta()},
           [relu](const Context& context, const Inputs& v) {
             return normalise(context, v[0], v[1], v[2], {.relu = relu, .residual = v[0]});
           }});
  }
}

TEST_CASE("gradients: batch norm adds to what its inputs' gradients hold") {
  const Shape shape{3, 2, 2, 4};
  check({"fan-out",
         {small_residual(shape, 1), small_gamma(), large_beta()},
         [](const Context& context, const Inputs& v) {
           const Variable x = scale(context, v[0], 0.9), gamma = scale(context, v[1], 1.1);
           const Variable beta = scale(context, v[2], 1.1);
           Variable y = sum(context, multiply(context, x, x));
           const auto also = [&](const Variable& more) {
             y = add(context, y, sum(context, multiply(context, more, more)));
           };
           also(normalise(context, x, gamma, beta, {}));
           also(normalise(context, x, gamma, beta, {.relu = true, .residual = v[0]}));
           also(normalise(context, v[0], gamma, beta, {.relu = true, .residual = x}));
           also(normalise(context, v[0], gamma, beta, {.residual = x}));
           return y;
         }});
}

TEST_CASE("gradients: batch norm behind a convolution's column sums") {
  check({"conv2d and batch_norm",
         {normal_tensor({3, 4, 4, 2}, 1), normal_tensor({4, 3, 3, 2}, 2), normal_tensor({4}, 3),
          normal_tensor({4}, 4)},
         [](const Context& context, const Inputs& v) {
           Tensor sums;
           const Variable x = conv2d(context, v[0], v[1], Variable(), {.padding = 1}, &sums);
           return normalise(context, x, v[2], v[3], {.column_sums = sums});
         }});
}

TEST_CASE("gradients: a whole network with fused ReLUs") {
  const Tensor labels = labels_of({0, 2, 1});
  GradientCase network{
      "cnn",
      {lattice_tensor({3, 6, 6, 2}, 1), lattice_tensor({4, 3, 3, 2}, 2),
       lattice_tensor({4}, 3, 0.5), normal_tensor({3, 16}, 4), normal_tensor({3}, 5)},
      nullptr};
  network.function = [labels](const Context& context, const Inputs& v) {
    Variable h = conv2d(context, v[0], v[1], v[2], {.relu = true});
    h = dropout(context, average_pool2d(context, h), 0.25, 0);
    return softmax_cross_entropy(
               context, linear(context, scale(context, flatten(h), 0.05), v[3], v[4]), labels, 0.1)
        .loss;
  };
  check(network);
}

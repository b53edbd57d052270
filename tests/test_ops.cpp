#include <set>

#include "framework/allocator.h"
#include "kernels/philox.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

const Context& context() {
  static const DeviceValue<int64_t> step(stream(), 1);
  static const Context context{
      .stream = stream(), .training = true, .seed = 11, .step = step.get()};
  return context;
}

Variable real(const Shape& shape, DType dtype = DType::f32) {
  return Variable(Tensor::zeros(stream(), shape, dtype), true);
}

// Expects the error, and that no memory was asked for on the way to it.
template <class Action>
void check_refused(Action action, const std::string& text) {
  context();
  const AllocatorCounters before = allocator({}).counters();
  const std::string got = error_of(action);
  const AllocatorCounters after = allocator({}).counters();
  CHECK(got == text);
  CHECK(after.requests == before.requests);
  CHECK(after.live_bytes == before.live_bytes);
}

std::vector<uint32_t> words_of(const PhiloxWords& words) { return {words.word, words.word + 4}; }

// Indices that dropout keeps of `count` ones.
std::set<int64_t> kept(const Context& with, int64_t count, double probability, uint32_t layer) {
  Tensor ones = Tensor::empty(stream(), {count}, DType::f64);
  ones.fill(stream(), 1);
  const std::vector<double> y =
      values_of(dropout(with, Variable(ones), probability, layer).value());
  std::set<int64_t> indices;
  for (int64_t i = 0; i < count; ++i) {
    if (y[static_cast<size_t>(i)] != 0) indices.insert(i);
  }
  return indices;
}

}  // namespace

TEST_CASE("ops: matmul refuses shapes that do not fit, before it allocates") {
  const Variable a = real({2, 3}), b = real({4, 5}), cube = real({2, 3, 4});
  check_refused([&] { matmul(context(), a, b); },
                "matmul: b has shape [4,5], expected [3,5] (rows as a has columns)");
  check_refused([&] { matmul(context(), cube, b); },
                "matmul: a has shape [2,3,4], expected 2 axes");
  check_refused([&] { matmul(context(), a, cube); },
                "matmul: b has shape [2,3,4], expected 2 axes");
  check_refused([&] { matmul(context(), Variable(), b); },
                "matmul: a has shape [], expected 2 axes");
  const Variable wide = real({3, 5}, DType::f64);
  check_refused([&] { matmul(context(), a, wide); }, "matmul: b is f64, expected f32");
}

TEST_CASE("ops: linear refuses shapes that do not fit, before it allocates") {
  const Variable x = real({2, 3}), weight = real({4, 3}), bias = real({4});
  const Variable other = real({4, 5}), long_bias = real({5}), image = real({1, 2, 3, 1});
  const Variable wide = real({4, 3}, DType::f64);
  check_refused([&] { linear(context(), x, other, bias); },
                "linear: weight has shape [4,5], expected [4,3] (columns as x has)");
  check_refused([&] { linear(context(), x, weight, long_bias); },
                "linear: bias has shape [5], expected [4] (rows of weight)");
  check_refused([&] { linear(context(), image, weight, bias); },
                "linear: x has shape [1,2,3,1], expected 2 axes");
  check_refused([&] { linear(context(), x, bias, bias); },
                "linear: weight has shape [4], expected 2 axes");
  check_refused([&] { linear(context(), x, wide, bias); }, "linear: weight is f64, expected f32");
}

TEST_CASE("ops: conv2d refuses shapes that do not fit, before it allocates") {
  const Variable x = real({2, 6, 6, 3}), filters = real({4, 3, 3, 3}), bias = real({4});
  const Variable other = real({4, 3, 3, 2}), long_bias = real({5}), large = real({4, 9, 3, 3});
  const Variable matrix = real({6, 6}), wide = real({4, 3, 3, 3}, DType::f64);
  check_refused(
      [&] { conv2d(context(), x, other, bias); },
      "conv2d: filters has shape [4,3,3,2], expected [4,3,3,3] (last axis as the channels of x)");
  check_refused([&] { conv2d(context(), x, filters, long_bias); },
                "conv2d: bias has shape [5], expected [4] (number of filters)");
  check_refused([&] { conv2d(context(), matrix, filters, bias); },
                "conv2d: x has shape [6,6], expected 4 axes");
  check_refused([&] { conv2d(context(), x, matrix, bias); },
                "conv2d: filters has shape [6,6], expected 4 axes");
  check_refused([&] { conv2d(context(), x, large, bias, {.padding = 1}); },
                "conv2d: filters have shape [4,9,3,3], larger than x [2,6,6,3] with padding 1");
  check_refused([&] { conv2d(context(), x, filters, bias, {.stride = 0}); },
                "conv2d: stride 0 and padding 0, expected at least 1 and at least 0");
  check_refused([&] { conv2d(context(), x, wide, bias); }, "conv2d: filters is f64, expected f32");
}

TEST_CASE("ops: pooling refuses shapes that do not fit, before it allocates") {
  const Variable x = real({2, 6, 6, 3}), matrix = real({6, 6});
  check_refused([&] { max_pool2d(context(), matrix); },
                "max_pool2d: x has shape [6,6], expected 4 axes");
  check_refused([&] { average_pool2d(context(), matrix); },
                "average_pool2d: x has shape [6,6], expected 4 axes");
  check_refused([&] { global_average_pool(context(), matrix); },
                "global_average_pool: x has shape [6,6], expected 4 axes");
  check_refused([&] { max_pool2d(context(), x, {.window = 7}); },
                "max_pool2d: window 7 is larger than x [2,6,6,3] with padding 0");
  check_refused([&] { average_pool2d(context(), x, {.window = 2, .stride = 0}); },
                "average_pool2d: window 2, stride 0, padding 0, expected window 1..15, stride at "
                "least 1, padding at most half the window");
  check_refused([&] { max_pool2d(context(), x, {.window = 3, .padding = 2}); },
                "max_pool2d: window 3, stride 2, padding 2, expected window 1..15, stride at "
                "least 1, padding at most half the window");
  check_refused([&] { average_pool2d(context(), x, {.relu = true}); },
                "average_pool2d: relu is for max pooling only");
}

TEST_CASE("ops: elementwise operations refuse shapes that do not fit, before they allocate") {
  const Variable a = real({2, 3}), b = real({3, 2}), wide = real({2, 3}, DType::f64);
  const Variable cube = real({2, 3, 4}), empty = real({0, 3});
  check_refused([&] { add(context(), a, b); },
                "add: b has shape [3,2], expected [2,3] (shape of a)");
  check_refused([&] { multiply(context(), a, b); },
                "multiply: b has shape [3,2], expected [2,3] (shape of a)");
  check_refused([&] { add(context(), a, wide); }, "add: b is f64, expected f32");
  check_refused([&] { multiply(context(), a, wide); }, "multiply: b is f64, expected f32");
  check_refused([&] { transpose(context(), cube); },
                "transpose: x has shape [2,3,4], expected 2 axes");
  check_refused([&] { reshape(a, {2, 4}); }, "reshape: [2,3] has 6 elements, [2,4] has 8");
  check_refused([&] { flatten(Variable()); }, "flatten: x has shape [], expected an axis");
  check_refused([&] { mean(context(), empty); }, "mean: x has shape [0,3], expected elements");
}

TEST_CASE("ops: dropout and the loss refuse what does not fit, before they allocate") {
  const Variable x = real({4, 3}), cube = real({2, 3, 4}), empty = real({0, 3});
  const Tensor labels = labels_of({0, 1, 2, 0}), few = labels_of({0, 1});
  const Tensor numbers = Tensor::zeros(stream(), {4});
  check_refused([&] { dropout(context(), x, 1, 0); },
                "dropout: probability is 1, expected 0 <= probability < 1");
  check_refused([&] { dropout({.stream = stream(), .training = true}, x, 0.5, 0); },
                "dropout: context.step is null, expected the optimizer's step counter in training");
  check_refused([&] { softmax_cross_entropy(context(), x, few); },
                "softmax_cross_entropy: labels has shape [2], expected [4] (rows of logits)");
  check_refused([&] { softmax_cross_entropy(context(), cube, labels); },
                "softmax_cross_entropy: logits has shape [2,3,4], expected 2 axes");
  check_refused([&] { softmax_cross_entropy(context(), empty, labels); },
                "softmax_cross_entropy: logits has shape [0,3], expected at least [1,1]");
  check_refused([&] { softmax_cross_entropy(context(), x, numbers); },
                "softmax_cross_entropy: labels is f32, expected i32");
  check_refused([&] { softmax_cross_entropy(context(), x, labels, 1); },
                "softmax_cross_entropy: label_smoothing is 1, expected 0 <= value < 1");
}

TEST_CASE("ops: an operation that is not refused is seen to allocate") {
  const Variable a = real({2, 3}), b = real({3, 2});
  const AllocatorCounters before = allocator({}).counters();
  matmul(context(), a, b);
  CHECK(allocator({}).counters().requests > before.requests);
}

TEST_CASE("philox: the known answers of its authors") {
  CHECK(words_of(philox({{0, 0, 0, 0}}, 0)) ==
        std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(words_of(philox({{~0U, ~0U, ~0U, ~0U}}, ~uint64_t{0})) ==
        std::vector<uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(words_of(philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822)) ==
        std::vector<uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("dropout: keeps the share 1 - p, and scales what it keeps") {
  constexpr int64_t kCount = 100'000;
  for (const double probability : {0.1, 0.25, 0.5, 0.9}) {
    const auto share = static_cast<double>(kept(context(), kCount, probability, 0).size()) / kCount;
    // Five standard deviations of a binomial share.
    CHECK(std::abs(share - (1 - probability)) <
          5 * std::sqrt(probability * (1 - probability) / kCount));
  }
  Tensor ones = Tensor::empty(stream(), {1000}, DType::f64);
  ones.fill(stream(), 1);
  for (const double y : values_of(dropout(context(), Variable(ones), 0.75, 0).value())) {
    CHECK((y == 0 || y == 4));
  }
}

TEST_CASE("dropout: the backward pass draws the mask of the forward pass") {
  const Variable x(normal_tensor({4099}, 1), true);
  const Variable y = dropout(context(), x, 0.4, 6);
  const Tensor dy = normal_tensor({4099}, 2);
  y.backward(stream(), dy);
  const std::vector<double> in = values_of(x.value()), out = values_of(y.value());
  const std::vector<double> gradient = values_of(x.gradient()), above = values_of(dy);
  for (size_t i = 0; i < in.size(); ++i) {
    const double factor = out[i] == 0 ? 0 : 1 / 0.6;
    CHECK(gradient[i] == doctest::Approx(above[i] * factor).epsilon(1e-12));
  }
}

TEST_CASE(
    "dropout: the mask changes with the step, the layer and the seed, and with nothing else") {
  DeviceValue<int64_t> step(stream(), 1);
  Context with{.stream = stream(), .training = true, .seed = 3, .step = step.get()};
  const std::set<int64_t> first = kept(with, 1000, 0.5, 0);
  CHECK(kept(with, 1000, 0.5, 0) == first);
  CHECK(kept(with, 1000, 0.5, 1) != first);
  with.seed = 4;
  CHECK(kept(with, 1000, 0.5, 0) != first);
  with.seed = 3;
  step.set(stream(), 2);
  CHECK(kept(with, 1000, 0.5, 0) != first);
  step.set(stream(), 1);
  CHECK(kept(with, 1000, 0.5, 0) == first);
  // An element's fate does not depend on how many there are.
  std::set<int64_t> start = kept(with, 5000, 0.5, 0);
  start.erase(start.lower_bound(1000), start.end());
  CHECK(start == first);
}

TEST_CASE("dropout: is the identity outside training and at probability 0") {
  const Variable x(normal_tensor({10}, 1));
  CHECK(dropout({.stream = stream()}, x, 0.5, 0).value().raw() == x.value().raw());
  CHECK(dropout(context(), x, 0, 0).value().raw() == x.value().raw());
}

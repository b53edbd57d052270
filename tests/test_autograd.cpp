#include "framework/allocator.h"
#include "framework/layers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

Context context() { return {.stream = stream(), .training = true}; }

Variable leaf(const std::vector<double>& values) {
  return Variable(tensor_of({static_cast<int64_t>(values.size())}, values), true);
}

}  // namespace

TEST_CASE("autograd: a variable that is used twice gets the sum of both gradients") {
  Variable x = leaf({2, -3});
  const Variable y =
      sum(context(), add(context(), multiply(context(), x, x), scale(context(), x, 5)));
  y.backward(stream());
  CHECK(values_of(x.gradient()) == std::vector<double>{2 * 2 + 5, 2 * -3 + 5});
}

TEST_CASE("autograd: an interior node with several consumers adds up, whoever wrote first") {
  // add() shares dy with both inputs; the multiply then adds to one of them. The other must not
  // change.
  Variable a = leaf({1, 2}), b = leaf({3, 4});
  const Variable u = scale(context(), a, 1), v = scale(context(), b, 1);
  const Variable w = multiply(context(), u, u);
  const Variable y = sum(context(), add(context(), w, add(context(), u, v)));
  y.backward(stream());
  CHECK(values_of(a.gradient()) == std::vector<double>{2 * 1 + 1, 2 * 2 + 1});
  CHECK(values_of(b.gradient()) == std::vector<double>{1, 1});
}

TEST_CASE("autograd: x + x gives 2") {
  Variable x = leaf({7});
  sum(context(), add(context(), x, x)).backward(stream());
  CHECK(values_of(x.gradient()) == std::vector<double>{2});
  Variable z = leaf({7});
  const Variable inner = scale(context(), z, 1);
  sum(context(), add(context(), inner, inner)).backward(stream());
  CHECK(values_of(z.gradient()) == std::vector<double>{2});
}

TEST_CASE("autograd: gradients accumulate over backward passes until they are cleared") {
  Variable x = leaf({1});
  for (int pass = 1; pass <= 3; ++pass) {
    sum(context(), scale(context(), x, 4)).backward(stream());
    CHECK(values_of(x.gradient()) == std::vector<double>{4.0 * pass});
  }
  x.clear_gradient();
  CHECK_FALSE(x.has_gradient());
  sum(context(), scale(context(), x, 4)).backward(stream());
  CHECK(values_of(x.gradient()) == std::vector<double>{4});
}

TEST_CASE("autograd: backward with a given dy, and its errors") {
  Variable x = leaf({1, 2});
  const Variable y = scale(context(), x, 3);
  CHECK(contains(error_of([&] { y.backward(stream()); }), "expected one element"));
  CHECK(contains(error_of([&] {
                   y.backward(stream(), tensor_of({3}, {1, 1, 1}));
                 }),
                 "dy is f64[3], expected f64[2]"));
  y.backward(stream(), tensor_of({2}, {10, 100}));
  CHECK(values_of(x.gradient()) == std::vector<double>{30, 300});
  CHECK(contains(error_of([&] { y.backward(stream(), tensor_of({2}, {1, 1})); }), "freed"));
  const Variable constant(tensor_of({1}, {1}));
  CHECK(contains(error_of([&] { constant.backward(stream()); }), "does not require a gradient"));
}

TEST_CASE("autograd: backward from a leaf gives it dy") {
  Variable x = leaf({5});
  x.backward(stream());
  CHECK(values_of(x.gradient()) == std::vector<double>{1});
  x.backward(stream(), tensor_of({1}, {3}));
  CHECK(values_of(x.gradient()) == std::vector<double>{4});
}

TEST_CASE("autograd: no-gradient mode records nothing and ends with its scope") {
  Variable x = leaf({1});
  {
    const NoGradient no_gradient;
    CHECK_FALSE(scale(context(), x, 2).requires_gradient());
    { const NoGradient inner; }
    CHECK_FALSE(scale(context(), x, 2).requires_gradient());
  }
  CHECK(scale(context(), x, 2).requires_gradient());
  CHECK_FALSE(x.detach().requires_gradient());
}

TEST_CASE("autograd: constants get no gradient and cost no node") {
  Variable x = leaf({3});
  const Variable constant(tensor_of({1}, {5}));
  CHECK_FALSE(multiply(context(), constant, constant).requires_gradient());
  multiply(context(), x, constant).backward(stream());
  CHECK(values_of(x.gradient()) == std::vector<double>{5});
}

TEST_CASE("autograd: a chain of 1,000,000 operations runs back, and is freed, without recursion") {
  Variable x = leaf({1});
  {
    Variable y = x;
    for (int i = 0; i < 1'000'000; ++i) y = reshape(y, {1});
    y.backward(stream());
    CHECK(values_of(x.gradient()) == std::vector<double>{1});
  }
  Variable dropped = x;
  for (int i = 0; i < 1'000'000; ++i) dropped = reshape(dropped, {1});
  dropped = Variable();  // never run back: the destructor must not recurse either
  CHECK(values_of(x.gradient()) == std::vector<double>{1});
}

TEST_CASE("autograd: a tensor written after it was saved is refused, by name") {
  Variable a = leaf({1, 2}), b = leaf({3, 4});
  const Variable y = sum(context(), multiply(context(), a, b));
  b.mutable_value().fill(stream(), 9);
  CHECK(error_of([&] { y.backward(stream()); }) ==
        "multiply: b was written in place after it was saved for the backward pass");
  // Views share the count: writing a slice of x spoils what was saved of x.
  Variable x(normal_tensor({4, 3}, 1), true), weight(normal_tensor({2, 3}, 2), true);
  const Variable z = sum(context(), linear(context(), x, weight, Variable()));
  Tensor first_row = x.value().slice(0, 1);
  first_row.fill(stream(), 0);
  CHECK(contains(error_of([&] { z.backward(stream()); }), "linear: x was written in place"));
  // After an error the graph's other users still work.
  const Variable again = sum(context(), linear(context(), x, weight, Variable()));
  again.backward(stream());
  CHECK(x.has_gradient());
}

TEST_CASE("autograd: writing a tensor that nothing saved is allowed") {
  Variable a = leaf({1, 2});
  const Variable y = sum(context(), scale(context(), a, 2));
  a.mutable_value().fill(stream(), 9);
  y.backward(stream());
  CHECK(values_of(a.gradient()) == std::vector<double>{2, 2});
}

TEST_CASE("autograd: live bytes are the same after every step from the second on") {
  Initializer init(stream(), 3);
  Sequential net(Linear(init, 20, 30, {.relu = true}), ReLU(), Linear(init, 30, 5));
  const Tensor x = normal_tensor({8, 20}, 4, DType::f32);
  const Tensor labels = labels_of({0, 1, 2, 3, 4, 0, 1, 2});
  std::vector<int64_t> live, system_allocations;
  for (int step = 0; step < 6; ++step) {
    for (auto& parameter : parameters_of(net)) parameter.item->variable.clear_gradient();
    softmax_cross_entropy(context(), net.forward(context(), Variable(x)), labels)
        .loss.backward(stream());
    live.push_back(allocator({}).counters().live_bytes);
    system_allocations.push_back(allocator({}).counters().system_allocations);
  }
  for (size_t step = 2; step < live.size(); ++step) {
    CHECK(live[step] == live[1]);
    if (!allocator_is_passthrough()) CHECK(system_allocations[step] == system_allocations[1]);
  }
}

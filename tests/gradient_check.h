#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/op_cases.h"

namespace flyball::testing {

// A differentiable function of f64 inputs, and of i32 ones that have no gradient.
struct GradientCase {
  std::string name;
  std::vector<Tensor> inputs;
  std::function<Variable(const Context&, const std::vector<Variable>&)> function;
};

// An operation case whose `differentiable` is set, on the values that its kernel is tested with.
GradientCase gradient_case(const Stream& stream, const OpCase& op, uint64_t seed);

// Compares gradients with central differences of <r, y>, r random, and checks that a second
// backward pass adds to the first and that each input's gradient does not depend on whether the
// others want one. Returns one line that says what is wrong, or nothing.
std::string check_gradient(const Stream& stream, const GradientCase& gradient, uint64_t seed);

}  // namespace flyball::testing

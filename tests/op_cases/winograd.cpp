#include "tests/op_cases/winograd.h"

#include "tests/reference/winograd.h"

namespace flyball::testing {
namespace {

std::vector<double> magnitudes_of(const Operands& operands, size_t i) {
  std::vector<double> numbers = operands.numbers(i);
  for (double& x : numbers) x = std::abs(x);
  return numbers;
}

// The result of the algorithm with the absolute values of its matrices and operands.
std::vector<double> magnitude_of(const OpCase& op, const Conv2dShape& d, const Operands& before) {
  const reference::WinogradMatrices matrices = reference::absolute({});
  const size_t last = op.operands.size() - 1;
  const std::string name = op.operands[last].name;
  const bool accumulate = op.operands[last].role == Role::in_out;
  const std::vector<double> first = magnitudes_of(before, 0), second = magnitudes_of(before, 1);
  std::vector<double> result = magnitudes_of(before, last);
  if (name == "y") {
    const bool has_bias = last == 3;
    const std::vector<double> bias = has_bias ? magnitudes_of(before, 2) : std::vector<double>();
    reference::winograd_forward({.x = first.data(),
                                 .filters = second.data(),
                                 .bias = has_bias ? bias.data() : nullptr,
                                 .y = result.data(),
                                 .shape = d},
                                matrices);
  } else if (name == "dx") {
    reference::winograd_backward_data({.dy = first.data(),
                                       .filters = second.data(),
                                       .dx = result.data(),
                                       .shape = d,
                                       .accumulate = accumulate},
                                      matrices);
  } else {
    reference::winograd_backward_weights({.x = first.data(),
                                          .dy = second.data(),
                                          .dfilters = result.data(),
                                          .shape = d,
                                          .accumulate = accumulate},
                                         matrices);
  }
  return result;
}

// The roundings behind a term of a result. The transforms of kernels/cpu/winograd_matrices.h have,
// for each axis, at most 3 (B^T), 4 (G, its constants rounded), 3 (A^T), 2 (A) and 5 (G^T); then
// come a product, the sum over `terms` in parts of at least 32, and the bias or what was there.
// Forward and backward data: 2 (3 + 4 + 3) + 2; backward weights: 2 (3 + 2 + 5) + 2.
int64_t roundings_of(int64_t terms) { return 22 + terms + terms / 32 + 1; }

}  // namespace

// Each rounding is relative to an intermediate result, whose terms in absolute values are some of
// those of the final result: the bound of a plain sum (sum_of), with the terms of the algorithm in
// place of those of the formula. They are larger, and hold elements of the tile that cancel: on an
// axis up to 48 where the formula has 3.
void expect_winograd(OpCase& op, const Conv2dShape& d) {
  Operand& result = op.operands.back();
  const std::string name = result.name;
  const int64_t tiles = d.n * ((d.p() + 3) / 4) * ((d.q() + 3) / 4);
  result.tolerance = sum_of(roundings_of(name == "y" ? d.c : name == "dx" ? d.k : tiles));
  op.magnitude = [op, d](const Operands& before, const Operands&) {
    Numbers numbers(op.operands.size());
    numbers.back() = magnitude_of(op, d, before);
    return numbers;
  };
}

}  // namespace flyball::testing

#include "kernels/softmax_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "tests/op_cases.h"
#include "tests/reference/softmax_cross_entropy.h"

namespace flyball::testing {
namespace {

struct Options {
  double label_smoothing = 0;
  bool dlogits = true, in_place = false;
};

// With d = x - max(x) rounded once, e^d to 2 units in the last place and a sum in f64, softmax p is
// off by no more than (2 D + 12) u p, D = the largest |d| of the row: D u from each of the two
// exponents that make it, 4 u from each exponential, the rest from the scale, the product and the
// two subtractions. The loss takes D u from each of its three terms, 4 u from the exponentials and
// its own rounding.
Numbers error_scale(int64_t rows, int64_t classes, double label_smoothing, const Operands& before) {
  const std::vector<double> x = before.numbers(0);
  const std::vector<double> labels = before.numbers(1);
  double loss_scale = 0;
  std::vector<double> gradient_scale(x.size());
  for (int64_t row = 0; row < rows; ++row) {
    const double* logits = x.data() + row * classes;
    const auto [low, high] = std::minmax_element(logits, logits + classes);
    const double range = *high - *low;
    double sum = 0;
    for (int64_t j = 0; j < classes; ++j) sum += std::exp(logits[j] - *high);
    loss_scale += 4 * range + 4 + 2 * std::log(sum);
    for (int64_t j = 0; j < classes; ++j) {
      const double softmax = std::exp(logits[j] - *high) / sum;
      const bool is_label = j == static_cast<int64_t>(labels[static_cast<size_t>(row)]);
      const double target =
          (is_label ? 1 - label_smoothing : 0) + label_smoothing / static_cast<double>(classes);
      // The smallest normal number, where the kernel ends its exponential.
      gradient_scale[static_cast<size_t>(row * classes + j)] =
          (softmax * (2 * range + 12) + 3 * target) / static_cast<double>(rows) + 0x1p-100;
    }
  }
  Numbers scale(before.size());
  for (size_t i = 0; i < scale.size(); ++i) {
    const size_t count = static_cast<size_t>(before.count(i));
    scale[i] = count == x.size()
                   ? gradient_scale
                   : std::vector<double>(count, loss_scale / static_cast<double>(rows));
  }
  return scale;
}

OpCase cross_entropy_case(int64_t rows, int64_t classes, const Options& o = {},
                          const Values& logits = normal(0, 2)) {
  OpCase op{.operation = "softmax_cross_entropy",
            .name = str(rows, "x", classes,
                        o.label_smoothing != 0 ? str(" smoothing ", o.label_smoothing) : "",
                        o.in_place ? " in place" : "", o.dlogits ? "" : " no gradient")};
  // Row sums and the sum over the rows are in f64 in both, in different orders.
  const Tolerance tolerance{1, roundings(classes) + roundings(rows)};
  op.operands = {
      {.name = "logits",
       .shape = {rows, classes},
       .role = o.in_place ? Role::in_out : Role::input,
       .values = logits,
       .tolerance = o.in_place ? tolerance : Tolerance{}},
      {.name = "labels", .shape = {rows}, .values = below(classes), .element = Element::i32},
      {.name = "loss", .shape = {1}, .role = Role::output, .tolerance = tolerance},
      {.name = "correct", .shape = {1}, .role = Role::output, .element = Element::i32}};
  if (o.dlogits && !o.in_place) {
    op.operands.push_back({.name = "dlogits",
                           .shape = {rows, classes},
                           .role = Role::output,
                           .tolerance = tolerance});
  }
  set_kernel<cpu::softmax_cross_entropy<float>, cpu::softmax_cross_entropy<double>,
             reference::softmax_cross_entropy, cuda::softmax_cross_entropy<float>,
             cuda::softmax_cross_entropy<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return SoftmaxCrossEntropy<T>{.logits = operands.get<T>("logits"),
                                  .labels = operands.get<int32_t>("labels"),
                                  .loss = operands.get<T>("loss"),
                                  .correct = operands.get<int32_t>("correct"),
                                  .dlogits = operands.get<T>(o.in_place ? "logits" : "dlogits"),
                                  .rows = rows,
                                  .classes = classes,
                                  .label_smoothing = o.label_smoothing};
  });
  op.magnitude = [=](const Operands& before, const Operands&) {
    return error_scale(rows, classes, o.label_smoothing, before);
  };
  if (o.dlogits && !o.in_place) {
    op.differentiable = [o](const Context& context, const std::vector<Variable>& v) {
      return softmax_cross_entropy(context, v[0], v[1].value(), o.label_smoothing).loss;
    };
  }
  op.bytes = 4.0 * static_cast<double>(rows * classes * (o.dlogits ? 2 : 1) + rows);
  return op;
}

}  // namespace

std::vector<OpCase> softmax_cross_entropy_cases() {
  std::vector<OpCase> cases;
  // On either side of a vector and of the blocks of a row, and several pieces of rows.
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 2}, Shape{3, 10}, Shape{33, 31}, Shape{5, 255},
                             Shape{7, 257}, Shape{4, 513}, Shape{65, 1023}, Shape{4099, 10}}) {
    cases.push_back(cross_entropy_case(shape[0], shape[1]));
    cases.push_back(cross_entropy_case(shape[0], shape[1], {.label_smoothing = 0.1}));
    cases.push_back(cross_entropy_case(shape[0], shape[1], {.dlogits = false}));
    cases.push_back(
        cross_entropy_case(shape[0], shape[1], {.label_smoothing = 0.3, .in_place = true}));
  }
  cases.push_back(cross_entropy_case(3, 50257));
  cases.push_back(cross_entropy_case(16, 33, {}, normal(1000, 1)));
  cases.back().name += " large mean";
  cases.push_back(cross_entropy_case(16, 33, {.label_smoothing = 0.1}, normal(0, 100)));
  cases.back().name += " confident";
  cases.push_back(cross_entropy_case(64, 5, {}, integers(-1, 2)));
  cases.back().name += " ties";
  cases.push_back(cross_entropy_case(16, 10));
  cases.back().name += " labels out of range";
  cases.back().operands[1].values = integers(-2, 13);
  cases.back().differentiable = nullptr;
  for (const Shape& shape : {Shape{64, 10}, Shape{512, 10}, Shape{8192, 50257}}) {
    cases.push_back(cross_entropy_case(shape[0], shape[1]));
    cases.back().benchmark = true;
  }
  cases.back().checked_as = "3x50257";
  return cases;
}

}  // namespace flyball::testing

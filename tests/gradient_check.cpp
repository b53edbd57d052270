#include "tests/gradient_check.h"

#include <cmath>
#include <limits>
#include <optional>

#include "kernels/permutation.h"
#include "kernels/philox.h"

namespace flyball::testing {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr int64_t kChecked = 64;  // elements of an input; all of them where it has no more than 4x
// Roundings of one result, and the growth of their errors by cancellation.
constexpr double kGrowth = 64;

class GradientCheck {
 public:
  GradientCheck(const Stream& stream, const GradientCase& gradient, uint64_t seed)
      : stream_(stream), case_(gradient), seed_(seed), step_(stream, int64_t{5}) {}

  std::string run() {
    const std::vector<Variable> inputs = leaves(std::nullopt);
    const Variable y = evaluate(inputs);
    choose_projection(y.shape());
    y.backward(stream_, dy_);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!is_real(i)) continue;
      if (!inputs[i].has_gradient()) return str("input ", i, " has no gradient");
      gradients_.resize(inputs.size());
      gradients_[i] = inputs[i].gradient().to_host<double>(stream_);
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!is_real(i)) continue;
      std::string fault = compare_with_differences(i);
      if (fault.empty()) fault = compare_with_own(i);
      if (!fault.empty()) return fault;
    }
    return compare_second_pass(inputs);
  }

 private:
  bool is_real(size_t i) const { return case_.inputs[i].dtype() == DType::f64; }

  Context context() const {
    return {.stream = stream_, .training = true, .seed = 9, .step = step_.get()};
  }

  Variable evaluate(const std::vector<Variable>& inputs) const {
    return case_.function(context(), inputs);
  }

  // Every real input wants a gradient, or only the one given.
  std::vector<Variable> leaves(std::optional<size_t> only) const {
    std::vector<Variable> inputs;
    for (size_t i = 0; i < case_.inputs.size(); ++i) {
      inputs.emplace_back(case_.inputs[i], is_real(i) && only.value_or(i) == i);
    }
    return inputs;
  }

  void choose_projection(const Shape& shape) {
    for (int64_t i = 0; i < shape.count(); ++i) {
      const PhiloxWords words = philox_at(static_cast<uint64_t>(i), 1, 0, seed_);
      const double size = 0.5 + uniform_open(words.word[0]);
      projection_.push_back(words.word[1] % 2 == 0 ? size : -size);
    }
    dy_ = Tensor::from_host(stream_, shape, std::span<const double>(projection_));
  }

  std::vector<double> value_with(size_t input, int64_t element, double value) const {
    const NoGradient no_gradient;
    std::vector<Variable> inputs = leaves(std::nullopt);
    std::vector<double> values = case_.inputs[input].to_host<double>(stream_);
    values[static_cast<size_t>(element)] = value;
    inputs[input] = Variable(
        Tensor::from_host(stream_, case_.inputs[input].shape(), std::span<const double>(values)));
    return evaluate(inputs).value().to_host<double>(stream_);
  }

  // (<r, y(x + h)> - <r, y(x - h)>) / 2h with h = cbrt(epsilon), as inputs spread by about 1 around
  // whatever mean. The error of truncation, of the order of h^2, then is below that of rounding,
  // kGrowth * epsilon / h of the largest |y| for each result that moves.
  std::string compare_with_differences(size_t input) const {
    const std::vector<double> x = case_.inputs[input].to_host<double>(stream_);
    const auto count = static_cast<int64_t>(x.size());
    const int64_t checked = count <= 4 * kChecked ? count : kChecked;
    for (int64_t i = 0; i < checked; ++i) {
      const int64_t element = checked == count ? i : permuted(i, count, seed_, 0, 0);
      const double at = x[static_cast<size_t>(element)];
      const double h = std::cbrt(kEpsilon);
      const std::vector<double> above = value_with(input, element, at + h);
      const std::vector<double> below = value_with(input, element, at - h);
      double difference = 0, moved = 0, largest = 1;
      for (size_t j = 0; j < above.size(); ++j) {
        largest = std::max(largest, std::abs(above[j]));
        if (above[j] == below[j]) continue;
        difference += projection_[j] * (above[j] - below[j]);
        moved += std::abs(projection_[j]);
      }
      const double want = difference / ((at + h) - (at - h));
      const double allowed = moved * largest * kGrowth * kEpsilon / h;
      const double got = gradients_[input][static_cast<size_t>(element)];
      if (!(std::abs(got - want) <= allowed)) {
        return str("gradient: of input ", input, " [", element, "] is ", got, ", expected ", want,
                   " within ", allowed);
      }
    }
    return "";
  }

  // The gradient of one input where no other wants one.
  std::string compare_with_own(size_t input) const {
    const std::vector<Variable> inputs = leaves(input);
    evaluate(inputs).backward(stream_, dy_);
    if (inputs[input].gradient().to_host<double>(stream_) == gradients_[input]) return "";
    return str("alone: the gradient of input ", input, " differs where no other input wants one");
  }

  // A result of one element goes back as a loss does, without a dy: 1 instead of r.
  std::string compare_second_pass(const std::vector<Variable>& inputs) const {
    const Variable y = evaluate(inputs);
    const bool scalar = projection_.size() == 1;
    if (scalar) {
      y.backward(stream_);
    } else {
      y.backward(stream_, dy_);
    }
    const double factor = scalar ? 1 + 1 / projection_[0] : 2;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!is_real(i)) continue;
      const std::vector<double> both = inputs[i].gradient().to_host<double>(stream_);
      double largest = 0;
      for (const double g : gradients_[i]) largest = std::max(largest, std::abs(g));
      for (size_t j = 0; j < both.size(); ++j) {
        if (std::abs(both[j] - factor * gradients_[i][j]) <= 4 * kGrowth * kEpsilon * largest) {
          continue;
        }
        return str("accumulate: after two passes the gradient of input ", i, " [", j, "] is ",
                   both[j], ", expected ", factor * gradients_[i][j]);
      }
    }
    return "";
  }

  const Stream& stream_;
  const GradientCase& case_;
  uint64_t seed_;
  DeviceValue<int64_t> step_;
  std::vector<double> projection_;
  Tensor dy_;
  Numbers gradients_;
};

}  // namespace

GradientCase gradient_case(const Stream& stream, const OpCase& op, uint64_t seed) {
  GradientCase gradient{.name = op.title(), .inputs = {}, .function = op.differentiable};
  const Operands operands(stream, op, DType::f64, seed, 0);
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const Operand& operand = op.operands[i];
    const bool real = operand.element == Element::real || operand.element == Element::accumulator;
    if (operand.role != Role::input || (!real && operand.element != Element::i32)) continue;
    Tensor tensor = Tensor::empty(stream, operand.shape, real ? DType::f64 : DType::i32);
    copy_to_device(stream, tensor.mutable_raw(), operands.bytes(i).data(), tensor.bytes());
    gradient.inputs.push_back(std::move(tensor));
  }
  return gradient;
}

std::string check_gradient(const Stream& stream, const GradientCase& gradient, uint64_t seed) {
  std::string fault;
  try {
    fault = GradientCheck(stream, gradient, seed).run();
  } catch (const std::exception& error) {
    fault = str("throws ", error.what());
  }
  return fault.empty() ? "" : str(gradient.name, ", seed ", seed, ": ", fault);
}

}  // namespace flyball::testing

#include "kernels/sgd.h"

#include <cmath>
#include <limits>

#include "tests/op_cases.h"
#include "tests/op_cases/optimizer_operands.h"
#include "tests/reference/sgd.h"

namespace flyball::testing {
namespace {

struct Options {
  double weight_decay = 0, clip_norm = 0, loss = 0.5;
  Values gradients = normal();
};

constexpr double kMu = 0.9;
constexpr size_t kValues = 0, kGradients = 1, kMomentum = 9;

// Roundings on the way of each term: momentum 6 (the factors, clipping, products, two sums), p one
// on itself and 9 on its change.
Numbers error_scale(const std::vector<ParameterSegment>& segments, const Options& o,
                    const Operands& before) {
  Numbers scale = no_error(before);
  if (!std::isfinite(o.loss)) return scale;
  const std::vector<double> p = before.numbers(kValues), gradients = before.numbers(kGradients);
  const std::vector<double> momentum = before.numbers(kMomentum);
  const double clip = o.clip_norm > 0 ? clip_factor(o.clip_norm, 4) : 1;
  for (const ParameterSegment& segment : segments) {
    const double decay = segment.decay != 0 ? o.weight_decay : 0;
    for (auto i = static_cast<size_t>(segment.begin); i < static_cast<size_t>(segment.end); ++i) {
      const double g = std::isfinite(gradients[i]) ? clip * std::abs(gradients[i]) : 0;
      const double terms = kMu * std::abs(momentum[i]) + g + decay * std::abs(p[i]);
      scale[kMomentum][i] = 6 * terms;
      scale[kValues][i] = std::abs(p[i]) + 9 * kTestRate * terms;
    }
  }
  return scale;
}

OpCase sgd_case(const std::string& what, const std::vector<ParameterSegment>& segments,
                const Options& o) {
  OpCase op{.operation = "sgd",
            .name = str(what, o.weight_decay > 0 ? " decay" : "",
                        o.clip_norm > 0 ? str(" clip ", o.clip_norm) : "",
                        std::isfinite(o.loss) ? "" : " NaN loss",
                        o.gradients.kind == Values::Kind::normal ? "" : " NaN gradients")};
  add_shared_operands(op, segments, o.gradients, o.loss, Action::kNone);
  op.operands.push_back({.name = "momentum",
                         .shape = {segments.back().end},
                         .role = Role::in_out,
                         .tolerance = {1, 1}});
  const auto segment_count = static_cast<int64_t>(segments.size());
  set_kernel<cpu::sgd<float>, cpu::sgd<double>, reference::sgd, cuda::sgd<float>,
             cuda::sgd<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return SgdStep<T>{.values = operands.get<T>("values"),
                      .gradients = operands.get<T>("gradients"),
                      .momentum = operands.get<T>("momentum"),
                      .segments = operands.get<ParameterSegment>("segments"),
                      .segment_count = segment_count,
                      .mu = kMu,
                      .weight_decay = o.weight_decay,
                      .clip_norm = o.clip_norm,
                      .gradient_norm_squared = operands.get<double>("gradient_norm_squared"),
                      .feedback = feedback_of<T>(operands)};
  });
  op.magnitude = [=](const Operands& before, const Operands&) {
    return error_scale(segments, o, before);
  };
  // Reads p, momentum and g, writes p and momentum.
  const auto elements = static_cast<double>(elements_of(segments));
  op.bytes = 20 * elements;
  op.flops = 7 * elements;
  return op;
}

}  // namespace

std::vector<OpCase> sgd_cases() {
  std::vector<OpCase> cases;
  const std::vector<std::vector<int64_t>> arenas = {{1}, {31, 33, 1}, {32767, 32769, 5}};
  for (const std::vector<int64_t>& sizes : arenas) {
    const std::vector<ParameterSegment> segments = segments_of(sizes, sizes.size() > 1 ? 3 : 0);
    const std::string what = str(segments.back().end);
    cases.push_back(sgd_case(what, segments, {}));
    cases.push_back(sgd_case(what, segments, {.weight_decay = 0.1, .clip_norm = 1}));
    cases.push_back(sgd_case(what, segments, {.clip_norm = 10}));
    cases.push_back(sgd_case(what, segments, {.loss = std::numeric_limits<double>::quiet_NaN()}));
    cases.push_back(
        sgd_case(what, segments, {.gradients = {Values::Kind::normal_or_nonfinite, 0, 1}}));
  }
  cases.push_back(sgd_case("CNN 1.2 M", segments_of(cnn_sizes(), 0), {}));
  cases.back().benchmark = true;
  return cases;
}

}  // namespace flyball::testing

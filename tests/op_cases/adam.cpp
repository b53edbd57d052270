#include "kernels/adam.h"

#include <cmath>
#include <limits>

#include "tests/op_cases.h"
#include "tests/op_cases/optimizer_operands.h"
#include "tests/reference/adam.h"

namespace flyball::testing {
namespace {

struct Options {
  bool sums = false, first_step = false, snapshot = false;
  double weight_decay = 0, clip_norm = 0, loss = 0.5;
  Action action = Action::kNone;
  Values gradients = normal();
};

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
constexpr size_t kValues = 0, kGradients = 1, kSignals = 5, kM = 9, kV = 10;

std::vector<double> power_numbers(const std::byte* bytes) {
  const auto powers = record_at<AdamPowers>(bytes);
  return {powers.beta1_power, powers.beta2_power};
}

AdamPowers powers_before(const Options& o) {
  return o.first_step ? AdamPowers{} : AdamPowers{std::pow(kBeta1, 5), std::pow(kBeta2, 5)};
}

std::string name_of(const std::string& what, const Options& o) {
  return str(what, o.sums ? " sums" : "", o.first_step ? " first step" : "",
             o.snapshot ? " snapshot" : "", o.weight_decay > 0 ? " decay" : "",
             o.clip_norm > 0 ? str(" clip ", o.clip_norm) : "",
             std::isfinite(o.loss) ? "" : " NaN loss",
             o.action == Action::kSnapshot   ? " action snapshot"
             : o.action == Action::kRollback ? " action rollback"
                                             : "",
             o.gradients.kind == Values::Kind::normal ? "" : " NaN gradients");
}

// Roundings on the way of each term, counted in update_chunk's formulas: m 5 (both factors, g's
// clipping, products, sum), v 8 (g counts twice), the quotient u 12, p 3 on itself and 20 on its
// change, the sums 34 (both factors and 16 additions in T; then f64).
Numbers error_scale(const std::vector<ParameterSegment>& segments, const Options& o,
                    const Operands& before) {
  Numbers scale = no_error(before);
  if (!std::isfinite(o.loss) || o.action == Action::kRollback) return scale;
  const std::vector<double> p = before.numbers(kValues), gradients = before.numbers(kGradients);
  const std::vector<double> m = before.numbers(kM), v = before.numbers(kV);
  const AdamPowers old_powers = powers_before(o);
  const double rest1 = 1 - old_powers.beta1_power * kBeta1;
  const double rest2 = 1 - old_powers.beta2_power * kBeta2;
  const double clip = o.clip_norm > 0 ? clip_factor(o.clip_norm, 4) : 1;
  double gu = 0, gg = 0, uu = 0;
  for (const ParameterSegment& segment : segments) {
    for (auto i = static_cast<size_t>(segment.begin); i < static_cast<size_t>(segment.end); ++i) {
      const double g = std::isfinite(gradients[i]) ? clip * std::abs(gradients[i]) : 0;
      const double m_scale = kBeta1 * std::abs(m[i]) + (1 - kBeta1) * g;
      const double v_scale = kBeta2 * v[i] + (1 - kBeta2) * g * g;
      const double change = kTestRate * m_scale / rest1 / (std::sqrt(v_scale / rest2) + kEpsilon);
      scale[kM][i] = 5 * m_scale;
      scale[kV][i] = 8 * v_scale;
      scale[kValues][i] = 3 * std::abs(p[i]) + 20 * change;
      double u = 0;
      if (!o.first_step) {
        u = std::abs(m[i]) / (1 - old_powers.beta1_power) /
            (std::sqrt(v[i] / (1 - old_powers.beta2_power)) + kEpsilon);
      }
      gu += g * u;
      gg += g * g;
      uu += u * u;
    }
  }
  scale[kSignals][kFirstSum] = 34 * gu;
  scale[kSignals][kFirstSum + 1] = 34 * gg;
  scale[kSignals][kFirstSum + 2] = 34 * uu;
  return scale;
}

OpCase adam_case(const std::string& what, const std::vector<ParameterSegment>& segments,
                 const Options& o) {
  OpCase op{.operation = "adam", .name = name_of(what, o)};
  const Shape arena{segments.back().end};
  const int64_t elements = elements_of(segments);
  add_shared_operands(op, segments, o.gradients, o.loss, o.action);
  op.operands[kSignals].tolerance = {1, roundings(elements)};
  op.operands.push_back({.name = "m",
                         .shape = arena,
                         .role = Role::in_out,
                         .values = o.first_step ? constant(0) : normal(),
                         .tolerance = {1, 1}});
  op.operands.push_back({.name = "v",
                         .shape = arena,
                         .role = Role::in_out,
                         .values = o.first_step ? constant(0) : normal(1, 0.1),
                         .tolerance = {1, 1}});
  op.operands.push_back(
      record_operand("powers", Role::in_out, std::vector{powers_before(o)}, power_numbers));
  if (o.snapshot) op.operands.push_back({.name = "snapshot", .shape = arena, .role = Role::in_out});
  const auto segment_count = static_cast<int64_t>(segments.size());
  if (o.sums) {
    op.operands.push_back({.name = "partial_sums",
                           .shape = {3 * adam_chunks(segments.data(), segment_count)},
                           .role = Role::scratch,
                           .element = Element::f64});
  }
  op.operands.push_back({.name = "arrivals",
                         .shape = {1},
                         .role = Role::in_out,
                         .values = constant(0),
                         .element = Element::i32});
  set_kernel<cpu::adam<float>, cpu::adam<double>, reference::adam, cuda::adam<float>,
             cuda::adam<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return AdamStep<T>{.values = operands.get<T>("values"),
                       .gradients = operands.get<T>("gradients"),
                       .m = operands.get<T>("m"),
                       .v = operands.get<T>("v"),
                       .snapshot = operands.get<T>("snapshot"),
                       .segments = operands.get<ParameterSegment>("segments"),
                       .segment_count = segment_count,
                       .beta1 = kBeta1,
                       .beta2 = kBeta2,
                       .epsilon = kEpsilon,
                       .weight_decay = o.weight_decay,
                       .clip_norm = o.clip_norm,
                       .gradient_norm_squared = operands.get<double>("gradient_norm_squared"),
                       .sums = o.sums,
                       .partial_sums = operands.get<double>("partial_sums"),
                       .powers = operands.get<AdamPowers>("powers"),
                       .arrivals = operands.get<uint32_t>("arrivals"),
                       .feedback = feedback_of<T>(operands)};
  });
  op.magnitude = [=](const Operands& before, const Operands&) {
    return error_scale(segments, o, before);
  };
  // Reads p, m, v and g, writes p, m and v.
  op.bytes = 28.0 * static_cast<double>(elements);
  op.flops = (o.sums ? 26.0 : 15.0) * static_cast<double>(elements);
  return op;
}

}  // namespace

std::vector<OpCase> adam_cases() {
  std::vector<OpCase> cases;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Values nan_gradients{Values::Kind::normal_or_nonfinite, 0, 1};
  // One element; a vector, a block and a chunk, each on either side; several chunks and gaps.
  const std::vector<std::vector<int64_t>> arenas = {
      {1}, {31, 33, 1}, {255, 257, 16383}, {16385, 7, 40000}};
  for (const std::vector<int64_t>& sizes : arenas) {
    const std::vector<ParameterSegment> segments = segments_of(sizes, sizes.size() > 1 ? 3 : 0);
    const std::string what = str(segments.back().end);
    for (const bool sums : {false, true}) {
      cases.push_back(adam_case(what, segments, {.sums = sums}));
      cases.push_back(adam_case(what, segments, {.sums = sums, .first_step = true}));
      cases.push_back(
          adam_case(what, segments, {.sums = sums, .weight_decay = 0.1, .clip_norm = 1}));
      cases.push_back(adam_case(what, segments, {.sums = sums, .clip_norm = 10}));
      cases.push_back(adam_case(what, segments, {.sums = sums, .gradients = nan_gradients}));
      cases.push_back(adam_case(what, segments, {.sums = sums, .snapshot = true, .loss = nan}));
      cases.push_back(
          adam_case(what, segments, {.sums = sums, .snapshot = true, .action = Action::kSnapshot}));
      cases.push_back(
          adam_case(what, segments, {.sums = sums, .snapshot = true, .action = Action::kRollback}));
    }
    cases.push_back(
        adam_case(what, segments,
                  {.sums = true, .snapshot = true, .loss = nan, .action = Action::kRollback}));
    cases.push_back(
        adam_case(what, segments,
                  {.sums = true, .snapshot = true, .loss = nan, .action = Action::kSnapshot}));
    cases.push_back(adam_case(what, segments, {.action = Action::kRollback}));
  }
  for (const bool sums : {false, true}) {
    cases.push_back(adam_case("CNN 1.2 M", segments_of(cnn_sizes(), 0), {.sums = sums}));
    cases.back().benchmark = true;
    cases.push_back(
        adam_case("ResNet-18 11.2 M", segments_of(resnet18_sizes(), 0), {.sums = sums}));
    cases.back().benchmark = true;
  }
  return cases;
}

}  // namespace flyball::testing

#include "kernels/sgd.h"

#include <cmath>
#include <limits>

#include "tests/op_cases.h"
#include "tests/op_cases/optimizer_operands.h"
#include "tests/reference/sgd.h"

namespace flyball::testing {
namespace {

struct Options {
  bool sums = false, snapshot = false;
  double weight_decay = 0, clip_norm = 0, loss = 0.5;
  Action action = Action::kNone;
  Values gradients = normal();
};

constexpr double kMu = 0.9;
constexpr void (*kReference)(const SgdStep<double>&) = reference::sgd;
constexpr size_t kValues = 0, kGradients = 1, kSignals = 5, kMomentum = 9;

// The step with the rule behind it, which gets the sums.
template <class T>
void cpu_step(const SgdStep<T>& a) {
  cpu::sgd(a);
  cpu::learning_rate(a.feedback);
}
template <class T>
void cuda_step(const SgdStep<T>& a, cudaStream_t stream) {
  cuda::sgd(a, stream);
  cuda::learning_rate(a.feedback, stream);
}

// Roundings on the way of each term: momentum 6 (the factors, clipping, products, two sums), p one
// on itself and 9 on its change, the sums 26 (four of each g and 16 additions in T; then f64).
Numbers error_scale(const std::vector<ParameterSegment>& segments, const Options& o,
                    const Operands& before) {
  Numbers scale = no_error(before);
  if (!std::isfinite(o.loss) || o.action == Action::kRollback) return scale;
  const std::vector<double> p = before.numbers(kValues), gradients = before.numbers(kGradients);
  const std::vector<double> momentum = before.numbers(kMomentum);
  const double clip = o.clip_norm > 0 ? clip_factor(o.clip_norm, 4) : 1;
  double gu = 0, gg = 0, uu = 0;
  for (const ParameterSegment& segment : segments) {
    const double decay = segment.decay != 0 ? o.weight_decay : 0;
    for (auto i = static_cast<size_t>(segment.begin); i < static_cast<size_t>(segment.end); ++i) {
      const double g = std::isfinite(gradients[i]) ? clip * std::abs(gradients[i]) : 0;
      const double with_decay = g + decay * std::abs(p[i]), u = std::abs(momentum[i]);
      const double terms = kMu * u + with_decay;
      scale[kMomentum][i] = 6 * terms;
      scale[kValues][i] = std::abs(p[i]) + 9 * kTestRate * terms;
      gu += with_decay * u;
      gg += with_decay * with_decay;
      uu += u * u;
    }
  }
  if (!o.sums) return scale;
  scale[kSignals][kFirstSum] = 26 * gu;
  scale[kSignals][kFirstSum + 1] = 26 * gg;
  scale[kSignals][kFirstSum + 2] = 26 * uu;
  return scale;
}

OpCase sgd_case(const std::string& what, const std::vector<ParameterSegment>& segments,
                const Options& o) {
  OpCase op{.operation = "sgd",
            .name = str(what, o.sums ? " sums" : "", o.snapshot ? " snapshot" : "",
                        o.weight_decay > 0 ? " decay" : "",
                        o.clip_norm > 0 ? str(" clip ", o.clip_norm) : "",
                        std::isfinite(o.loss) ? "" : " NaN loss",
                        o.action == Action::kSnapshot   ? " action snapshot"
                        : o.action == Action::kRollback ? " action rollback"
                                                        : "",
                        o.gradients.kind == Values::Kind::normal ? "" : " NaN gradients")};
  add_shared_operands(op, segments, o.gradients, o.loss, o.action);
  const Shape arena{segments.back().end};
  op.operands.push_back(
      {.name = "momentum", .shape = arena, .role = Role::in_out, .tolerance = {1, 1}});
  const auto segment_count = static_cast<int64_t>(segments.size());
  const int64_t chunks = adam_chunks(segments.data(), segment_count);
  if (o.sums) {
    op.operands[kSignals].tolerance = {1, roundings(elements_of(segments))};
    op.operands.push_back({.name = "partial_sums",
                           .shape = {3 * chunks},
                           .role = Role::scratch,
                           .element = Element::f64});
  }
  if (o.snapshot) op.operands.push_back({.name = "snapshot", .shape = arena, .role = Role::in_out});
  const auto make = [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    auto* partial_sums = operands.get<double>("partial_sums");
    StepFeedback<T> feedback = feedback_of<T>(operands);
    feedback.partial_sums = partial_sums;
    feedback.chunks = chunks;
    return SgdStep<T>{.values = operands.get<T>("values"),
                      .gradients = operands.get<T>("gradients"),
                      .momentum = operands.get<T>("momentum"),
                      .snapshot = operands.get<T>("snapshot"),
                      .segments = operands.get<ParameterSegment>("segments"),
                      .segment_count = segment_count,
                      .mu = kMu,
                      .weight_decay = o.weight_decay,
                      .clip_norm = o.clip_norm,
                      .gradient_norm_squared = operands.get<double>("gradient_norm_squared"),
                      .partial_sums = partial_sums,
                      .feedback = feedback};
  };
  if (o.sums) {
    set_kernel<cpu_step<float>, cpu_step<double>, reference::sgd_and_rule, cuda_step<float>,
               cuda_step<double>>(op, make);
  } else {
    set_kernel<cpu::sgd<float>, cpu::sgd<double>, kReference, cuda::sgd<float>, cuda::sgd<double>>(
        op, make);
  }
  op.magnitude = [=](const Operands& before, const Operands&) {
    return error_scale(segments, o, before);
  };
  // Reads p, momentum and g, writes p and momentum.
  const auto elements = static_cast<double>(elements_of(segments));
  op.bytes = 20 * elements;
  op.flops = (o.sums ? 13 : 7) * elements;
  return op;
}

}  // namespace

std::vector<OpCase> sgd_cases() {
  std::vector<OpCase> cases;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  // One element; a vector and a block; a chunk, on either side, and several chunks and gaps.
  const std::vector<std::vector<int64_t>> arenas = {
      {1}, {31, 33, 1}, {255, 16383, 40000, 16385, 5}};
  for (const std::vector<int64_t>& sizes : arenas) {
    const std::vector<ParameterSegment> segments = segments_of(sizes, sizes.size() > 1 ? 3 : 0);
    const auto add = [&](const Options& o) {
      cases.push_back(sgd_case(str(segments.back().end), segments, o));
    };
    for (const bool sums : {false, true}) {
      add({.sums = sums});
      add({.sums = sums, .weight_decay = 0.1, .clip_norm = 1});
      add({.sums = sums, .clip_norm = 10});
      add({.sums = sums, .snapshot = true, .loss = nan, .action = Action::kSnapshot});
      add({.sums = sums, .gradients = {Values::Kind::normal_or_nonfinite, 0, 1}});
      add({.sums = sums, .snapshot = true, .action = Action::kSnapshot});
      add({.sums = sums, .snapshot = true, .action = Action::kRollback});
    }
    add({.loss = nan});
    add({.snapshot = true, .loss = nan, .action = Action::kRollback});
    add({.action = Action::kRollback});
  }
  for (const bool sums : {false, true}) {
    cases.push_back(sgd_case("CNN 1.2 M", segments_of(cnn_sizes(), 0), {.sums = sums}));
    cases.back().benchmark = true;
  }
  return cases;
}

}  // namespace flyball::testing

#include <algorithm>
#include <cmath>

#include "kernels/adam.h"
#include "kernels/augment.h"
#include "tests/broken_kernels.h"

namespace flyball::testing {
namespace {

using Broken = std::vector<BrokenKernel>;

void add_softmax_cross_entropy(Broken& all) {
  const std::string name = "softmax_cross_entropy ";
  all.push_back({"forgets the label smoothing", run_as(name + "3x10 smoothing 0.1", name + "3x10"),
                 "result: loss"});
  all.push_back({"forgets the label smoothing in dlogits alone",
                 run_then(name + "3x10 smoothing 0.1",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 30; ++i) {
                              const bool label = o.get<int32_t>("labels")[i / 10] == i % 10;
                              const double target = 0.1 / 10 - (label ? 0.1 : 0);
                              o.get<T>("dlogits")[i] += static_cast<T>(target / 3);
                            }
                          }),
                 "result: dlogits"});
  all.push_back({"does not divide dlogits by the rows",
                 run_then(name + "3x10",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 30; ++i) o.get<T>("dlogits")[i] *= T{3};
                          }),
                 "result: dlogits"});
  all.push_back({"counts the last of equal logits",
                 run_then(name + "64x5 ties",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            int32_t correct = 0;
                            for (int64_t row = 0; row < 64; ++row) {
                              const T* x = o.get<T>("logits") + row * 5;
                              int64_t best = 0;
                              for (int64_t j = 1; j < 5; ++j) best = x[j] >= x[best] ? j : best;
                              correct += o.get<int32_t>("labels")[row] == best ? 1 : 0;
                            }
                            *o.get<int32_t>("correct") = correct;
                          }),
                 "result: correct"});
  all.push_back({"does not subtract the largest logit",
                 run_then(name + "16x33 large mean",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            T loss = 0;
                            for (int64_t row = 0; row < 16; ++row) {
                              const T* x = o.get<T>("logits") + row * 33;
                              T sum = 0;
                              for (int64_t j = 0; j < 33; ++j) sum += std::exp(x[j]);
                              loss += std::log(sum) - x[o.get<int32_t>("labels")[row]];
                            }
                            *o.get<T>("loss") = loss / 16;
                          }),
                 "result: loss"});
}

void add_reduce(Broken& all) {
  all.push_back({"overwrites instead of accumulating",
                 run_as("reduce rows 63x33 accumulate", "reduce rows 63x33"), "result: y"});
  all.push_back({"forgets alpha",
                 run_as("reduce sum 1025 alpha 0.25 accumulate", "reduce sum 1025"), "result: y"});
  all.push_back({"leaves out the last of 200003 elements",
                 run_then("reduce sum 200003",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            *o.get<T>("y") -= o.get<T>("x")[200002];
                          }),
                 "result: y"});
  all.push_back({"sums in f32",
                 run_then("reduce sum 70001 alpha 1.42855e-05 large mean",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            float sum = 0;
                            for (int64_t i = 0; i < 70001; ++i) {
                              sum += static_cast<float>(o.get<T>("x")[i]);
                            }
                            *o.get<T>("y") = static_cast<T>(sum / 70001);
                          }),
                 "result: y"});
  all.push_back({"lets NaN into the sum of squares",
                 run_then("reduce sum_of_squares 1025 accumulate",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            *o.get<double>("y") += static_cast<double>(o.get<T>("x")[5]);
                          }),
                 "result: y"});
}

void add_copy(Broken& all) {
  all.push_back({"copies instead of transposing",
                 run_instead("copy transpose 31x33",
                             [](auto zero, const Operands& o) {
                               using T = decltype(zero);
                               std::copy_n(o.get<T>("x"), 31 * 33, o.get<T>("y"));
                             }),
                 "result: y"});
  all.push_back({"truncates f64 to f32 instead of rounding",
                 run_then("copy cast f64 to f32 1025",
                          [](auto, const Operands& o) {
                            for (int64_t i = 0; i < 1025; ++i) {
                              float& to = o.get<float>("to")[i];
                              if (std::abs(static_cast<double>(to)) >
                                  std::abs(o.get<double>("from")[i])) {
                                to = std::nextafter(to, 0.0F);
                              }
                            }
                          }),
                 "result: to"});
}

void add_augment(Broken& all) {
  const std::string name = "augment 33x28x28x1";
  all.push_back({"shifts nothing", run_as(name + " crop 4", name), "result: y"});
  all.push_back({"shifts where nothing is asked for", run_as(name, name + " crop 4"), "result: y"});
  all.push_back({"never flips", run_as(name + " flip 0.5", name), "result: y"});
  all.push_back({"never turns", run_as(name + " rotation 10", name), "result: y"});
  all.push_back({"turns by twice the angle", run_as(name + " rotation 10", name + " rotation 20"),
                 "result: y"});
  all.push_back({"takes images in order instead of by index",
                 run_with(name, "indices",
                          [](auto, const Operands& o) {
                            for (int64_t i = 0; i < 33; ++i) o.get<int64_t>("indices")[i] = i % 11;
                          }),
                 "result: y"});
  all.push_back(
      {"forgets the deviation",
       run_with(name, "deviation", [](auto, const Operands& o) { *o.get<float>("deviation") = 1; }),
       "result: y"});
}

// The arena of three segments, with gaps of 3: [3, 34), [37, 70), [73, 74).
constexpr const char *kAdam = "adam 74", *kSgd = "sgd 74";

void add_adam(Broken& all) {
  all.push_back({"forgets weight decay and clipping", run_as(str(kAdam, " decay clip 1"), kAdam),
                 "result: values"});
  all.push_back(
      {"lets biases decay",
       run_with(str(kAdam, " decay clip 1"), "segments",
                [](auto, const Operands& o) { o.get<ParameterSegment>("segments")[1].decay = 1; }),
       "result: values"});
  all.push_back(
      {"leaves out the last parameter of a segment",
       run_with(kAdam, "segments",
                [](auto, const Operands& o) { --o.get<ParameterSegment>("segments")[1].end; }),
       "result: values"});
  all.push_back(
      {"writes into the gap between parameters",
       run_with(kAdam, "segments",
                [](auto, const Operands& o) { ++o.get<ParameterSegment>("segments")[1].end; }),
       "result: values"});
  all.push_back({"corrects no bias of the moments",
                 run_then(str(kAdam, " first step"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 3; i < 34; ++i) o.get<T>("values")[i] += T{0.005F};
                          }),
                 "result: values"});
  all.push_back(
      {"moves the powers on in a skipped step",
       run_then(str(kAdam, " snapshot NaN loss"),
                [](auto, const Operands& o) { o.get<AdamPowers>("powers")->beta1_power *= 0.9; }),
       "result: powers"});
  all.push_back({"updates in spite of a NaN loss",
                 run_then(str(kAdam, " snapshot NaN loss"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 3; i < 34; ++i) {
                              o.get<T>("m")[i] = T{0.9F} * o.get<T>("m")[i];
                            }
                          }),
                 "result: m"});
  all.push_back({"keeps the moments in a roll-back",
                 run_then(str(kAdam, " snapshot action rollback"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            std::copy_n(o.get<T>("gradients"), 74, o.get<T>("m"));
                          }),
                 "result: m"});
  all.push_back({"takes the snapshot after the update",
                 run_then(str(kAdam, " snapshot action snapshot"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            std::copy_n(o.get<T>("values") + 3, 31, o.get<T>("snapshot") + 3);
                          }),
                 "result: snapshot"});
  all.push_back({"leaves a parameter out of the sums",
                 run_then(str(kAdam, " sums"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            const auto g = static_cast<double>(o.get<T>("gradients")[73]);
                            o.get<StepSignals>("signals")->gradient_norm_squared -= g * g;
                          }),
                 "result: signals"});
  all.push_back({"lets NaN gradients into the moments",
                 run_then(str(kAdam, " NaN gradients"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            o.get<T>("m")[5] += o.get<T>("gradients")[5];
                          }),
                 "result: m"});
}

void add_sgd(Broken& all) {
  all.push_back({"forgets weight decay and clipping", run_as(str(kSgd, " decay clip 1"), kSgd),
                 "result: values"});
  all.push_back(
      {"lets biases decay",
       run_with(str(kSgd, " decay clip 1"), "segments",
                [](auto, const Operands& o) { o.get<ParameterSegment>("segments")[1].decay = 1; }),
       "result: values"});
  all.push_back({"starts each step without momentum",
                 run_with(kSgd, "segments",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            std::fill_n(o.get<T>("momentum"), 74, T{0});
                          }),
                 "result: values"});
  all.push_back({"leaves a parameter out of the sums",
                 run_then(str(kSgd, " sums"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            const auto g = static_cast<double>(o.get<T>("gradients")[73]);
                            o.get<StepSignals>("signals")->gradient_norm_squared -= g * g;
                          }),
                 "result: signals"});
  all.push_back({"keeps the momentum in a roll-back",
                 run_then(str(kSgd, " snapshot action rollback"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            std::copy_n(o.get<T>("gradients"), 74, o.get<T>("momentum"));
                          }),
                 "result: momentum"});
  all.push_back({"takes the snapshot after the update",
                 run_then(str(kSgd, " snapshot action snapshot"),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            std::copy_n(o.get<T>("values") + 3, 31, o.get<T>("snapshot") + 3);
                          }),
                 "result: snapshot"});
}

}  // namespace

void add_broken_losses_and_optimizers(std::vector<BrokenKernel>& all) {
  add_softmax_cross_entropy(all);
  add_reduce(all);
  add_copy(all);
  add_augment(all);
  add_adam(all);
  add_sgd(all);
}

}  // namespace flyball::testing

#include "kernels/dropout.h"

#include "kernels/philox.h"
#include "tests/op_cases.h"
#include "tests/reference/dropout.h"

namespace flyball::testing {
namespace {

constexpr uint64_t kSeed = 0x123456789ABCDEFU;
constexpr uint32_t kLayer = 3;

struct Options {
  bool accumulate = false, in_place = false;
};

OpCase dropout_case(int64_t count, double probability, const Options& o = {}) {
  OpCase op{.operation = "dropout",
            .name = str(count, " p ", probability, o.accumulate ? " accumulate" : "",
                        o.in_place ? " in place" : "")};
  // The scale 1 / (1 - p), the product, the sum.
  op.operands = {{.name = "x",
                  .shape = {count},
                  .role = o.in_place ? Role::in_out : Role::input,
                  .tolerance = sum_of(o.in_place ? 3 : 0)}};
  if (!o.in_place) {
    op.operands.push_back({.name = "y",
                           .shape = {count},
                           .role = o.accumulate ? Role::in_out : Role::output,
                           .tolerance = sum_of(3)});
  }
  op.operands.push_back(
      {.name = "step", .shape = {1}, .values = constant(5), .element = Element::i64});
  set_kernel<cpu::dropout<float>, cpu::dropout<double>, reference::dropout, cuda::dropout<float>,
             cuda::dropout<double>, cuda::dropout<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return InvertedDropout<T>{.x = operands.get<T>("x"),
                                  .y = operands.get<T>(o.in_place ? "x" : "y"),
                                  .count = count,
                                  .probability = probability,
                                  .seed = kSeed,
                                  .layer = kLayer,
                                  .step = operands.get<int64_t>("step"),
                                  .accumulate = o.accumulate};
      });
  if (probability > 0 && !o.accumulate && !o.in_place) {
    op.differentiable = [=](const Context& context, const std::vector<Variable>& v) {
      return dropout(context, v[0], probability, kLayer);
    };
  }
  op.bytes = 4.0 * static_cast<double>(count) * (o.accumulate ? 3 : 2);
  return op;
}

}  // namespace

std::vector<OpCase> dropout_cases() {
  std::vector<OpCase> cases;
  // On either side of a counter's four words, of a block of counters and of a thread's piece.
  for (const int64_t count : {1, 3, 5, 63, 65, 1025, 32767, 32769, 70001}) {
    cases.push_back(dropout_case(count, 0.25));
    cases.push_back(dropout_case(count, 0.5, {.accumulate = true}));
    cases.push_back(dropout_case(count, 0.9, {.in_place = true}));
  }
  cases.push_back(dropout_case(1000, 0));
  cases.push_back(dropout_case(1000, 0, {.accumulate = true}));
  cases.push_back(dropout_case(1000, 0x1p-32));
  cases.push_back(dropout_case(1000, 1 - 0x1p-20));
  // The first element's word is the smallest that is kept, and the largest that is dropped.
  const double word = philox_at(0, 5, kLayer, kSeed).word[0];
  cases.push_back(dropout_case(100, word * 0x1p-32));
  cases.back().name += " keeps its first";
  cases.push_back(dropout_case(100, (word + 1) * 0x1p-32));
  cases.back().name += " drops its first";
  for (const int64_t count : {int64_t{64} * 9216, int64_t{1} << 20}) {
    cases.push_back(dropout_case(count, 0.25));
    cases.back().benchmark = true;
  }
  return cases;
}

}  // namespace flyball::testing

#include "kernels/embedding.h"

#include "framework/ops_sequence.h"
#include "tests/op_cases.h"
#include "tests/reference/embedding.h"

namespace flyball::testing {
namespace {

struct Size {
  int64_t count, rows, d;
  int64_t padding = -1, frozen = 0;
};

std::string name_of(const Size& s) {
  return str(s.count, " of ", s.rows, "x", s.d, s.padding < 0 ? "" : str(" padding ", s.padding),
             s.frozen == 0 ? "" : str(" frozen ", s.frozen));
}

OpCase forward_case(const Size& s, const Values& tokens) {
  OpCase op{.operation = "embedding", .name = "forward " + name_of(s)};
  op.operands = {{.name = "tokens", .shape = {s.count}, .values = tokens, .element = Element::i32},
                 {.name = "table", .shape = {s.rows, s.d}},
                 {.name = "y", .shape = {s.count, s.d}, .role = Role::output}};
  set_kernel<cpu::embedding_forward<float>, cpu::embedding_forward<double>,
             reference::embedding_forward, cuda::embedding_forward<float>,
             cuda::embedding_forward<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return EmbeddingForward<T>{.tokens = operands.get<int32_t>("tokens"),
                               .table = operands.get<T>("table"),
                               .y = operands.get<T>("y"),
                               .count = s.count,
                               .rows = s.rows,
                               .d = s.d,
                               .padding = s.padding};
  });
  if (tokens.a >= 0 && s.frozen == 0) {
    op.differentiable = [=](const Context& context, const std::vector<Variable>& v) {
      return embedding(context, v[0].value(), v[1], {.padding = s.padding});
    };
  }
  op.bytes = 4.0 * static_cast<double>(s.count * (2 * s.d + 1));
  return op;
}

OpCase backward_case(const Size& s, const Values& tokens, bool accumulate) {
  OpCase op{.operation = "embedding",
            .name = "backward " + name_of(s) + (accumulate ? " accumulate" : "")};
  op.operands = {{.name = "tokens", .shape = {s.count}, .values = tokens, .element = Element::i32},
                 {.name = "dy", .shape = {s.count, s.d}},
                 // At most all of the positions are one row's.
                 {.name = "dtable",
                  .shape = {s.rows, s.d},
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(s.count + 1)}};
  set_kernel<cpu::embedding_backward<float>, cpu::embedding_backward<double>,
             reference::embedding_backward, cuda::embedding_backward<float>,
             cuda::embedding_backward<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return EmbeddingBackward<T>{.tokens = operands.get<int32_t>("tokens"),
                                .dy = operands.get<T>("dy"),
                                .dtable = operands.get<T>("dtable"),
                                .count = s.count,
                                .rows = s.rows,
                                .d = s.d,
                                .padding = s.padding,
                                .frozen = s.frozen,
                                .accumulate = accumulate};
  });
  op.bytes = 4.0 * static_cast<double>(s.count * (s.d + 1) + s.rows * s.d);
  return op;
}

}  // namespace

std::vector<OpCase> embedding_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](const Size& s, const Values& tokens, const char* what = "") {
    cases.push_back(forward_case(s, tokens));
    cases.push_back(backward_case(s, tokens, false));
    cases.push_back(backward_case(s, tokens, true));
    for (size_t i = cases.size() - 3; i < cases.size(); ++i) cases[i].name += what;
  };
  // On either side of a vector of four, a warp, a block and the sort's piece of positions.
  for (const Size& s : {Size{1, 1, 1}, Size{31, 7, 5, 0}, Size{33, 40, 32, 0}, Size{255, 33, 33, 0},
                        Size{257, 1025, 31, 0}, Size{1025, 300, 100, 299, 17}, Size{4099, 65, 3},
                        Size{5000, 9000, 4, 0}}) {
    add(s, below(s.rows));
  }
  add({300, 50, 8, 0, 50}, below(50));  // nothing is trained
  add({300, 50, 8, 3}, constant(3), " all padding");
  add({2050, 50, 8}, constant(7), " all alike");
  add({300, 50, 8, 0}, integers(-9, 60), " some outside");
  for (const Size& s : {Size{64 * 200, 20000, 100, 0}, Size{16384, 20000, 128, 0}}) {
    cases.push_back(forward_case(s, below(s.rows)));
    cases.back().benchmark = true;
    cases.push_back(backward_case(s, below(s.rows), false));
    cases.back().benchmark = true;
  }
  return cases;
}

}  // namespace flyball::testing

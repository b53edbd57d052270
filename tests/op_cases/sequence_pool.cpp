#include "kernels/sequence_pool.h"

#include "framework/ops_sequence.h"
#include "tests/op_cases.h"
#include "tests/reference/sequence_pool.h"

namespace flyball::testing {
namespace {

const char* name_of(SequencePool kind) {
  return kind == SequencePool::kMean ? "mean" : kind == SequencePool::kMax ? "max" : "last";
}

std::string name_of(const SequencePoolShape& s) {
  return str(name_of(s.kind), " ", s.time, "x", s.batch, "x", s.c,
             s.backward_columns > 0 ? str(" backward ", s.backward_columns) : "");
}

Shape x_shape(const SequencePoolShape& s) { return {s.time, s.batch, s.c}; }

Operand lengths_operand(const SequencePoolShape& s, const Values& lengths) {
  return {.name = "lengths", .shape = {s.batch}, .values = lengths, .element = Element::i32};
}

OpCase forward_case(const SequencePoolShape& s, const Values& lengths, const Values& values) {
  OpCase op{.operation = "sequence_pool", .name = "forward " + name_of(s)};
  const bool mean = s.kind == SequencePool::kMean, max = s.kind == SequencePool::kMax;
  op.operands = {{.name = "x", .shape = x_shape(s), .values = values},
                 lengths_operand(s, lengths),
                 {.name = "y",
                  .shape = {s.batch, s.c},
                  .role = Role::output,
                  .tolerance = sum_of(mean ? s.time + 2 : 0)}};
  if (max) {
    op.operands.push_back(
        {.name = "argmax", .shape = {s.batch, s.c}, .role = Role::output, .element = Element::i32});
  }
  set_kernel<cpu::sequence_pool_forward<float>, cpu::sequence_pool_forward<double>,
             reference::sequence_pool_forward, cuda::sequence_pool_forward<float>,
             cuda::sequence_pool_forward<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return SequencePoolForward<T>{.x = operands.get<T>("x"),
                                  .lengths = operands.get<int32_t>("lengths"),
                                  .y = operands.get<T>("y"),
                                  .argmax = operands.get<int32_t>("argmax"),
                                  .shape = s};
  });
  if (!max || values.kind == Values::Kind::distinct) {
    op.differentiable = [=](const Context& context, const std::vector<Variable>& v) {
      return sequence_pool(context, v[0], v[1].value(), s.kind, s.backward_columns);
    };
  }
  op.bytes = 4.0 * static_cast<double>(x_shape(s).count() + s.batch * s.c);
  return op;
}

OpCase backward_case(const SequencePoolShape& s, const Values& lengths, bool accumulate) {
  OpCase op{.operation = "sequence_pool",
            .name = "backward " + name_of(s) + (accumulate ? " accumulate" : "")};
  op.operands = {{.name = "dy", .shape = {s.batch, s.c}}, lengths_operand(s, lengths)};
  if (s.kind == SequencePool::kMax) {
    op.operands.push_back({.name = "argmax",
                           .shape = {s.batch, s.c},
                           .values = integers(-1, static_cast<double>(s.time)),
                           .element = Element::i32});
  }
  op.operands.push_back({.name = "dx",
                         .shape = x_shape(s),
                         .role = accumulate ? Role::in_out : Role::output,
                         .tolerance = sum_of(3)});
  set_kernel<cpu::sequence_pool_backward<float>, cpu::sequence_pool_backward<double>,
             reference::sequence_pool_backward, cuda::sequence_pool_backward<float>,
             cuda::sequence_pool_backward<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return SequencePoolBackward<T>{.dy = operands.get<T>("dy"),
                                   .lengths = operands.get<int32_t>("lengths"),
                                   .argmax = operands.get<int32_t>("argmax"),
                                   .dx = operands.get<T>("dx"),
                                   .shape = s,
                                   .accumulate = accumulate};
  });
  op.bytes = 4.0 * static_cast<double>(x_shape(s).count() + s.batch * s.c);
  return op;
}

}  // namespace

std::vector<OpCase> sequence_pool_cases() {
  std::vector<OpCase> cases;
  constexpr SequencePool kKinds[] = {SequencePool::kMean, SequencePool::kMax, SequencePool::kLast};
  for (const SequencePool kind : kKinds) {
    for (const SequencePoolShape& s :
         {SequencePoolShape{kind, 1, 1, 1}, SequencePoolShape{kind, 5, 3, 7},
          SequencePoolShape{kind, 17, 1, 33}, SequencePoolShape{kind, 33, 5, 31},
          SequencePoolShape{kind, 7, 33, 64}, SequencePoolShape{kind, 3, 2, 1025}}) {
      SequencePoolShape shape = s;
      if (kind == SequencePool::kLast) shape.backward_columns = s.c / 2;
      const Values lengths = integers(0, static_cast<double>(s.time + 1));
      cases.push_back(forward_case(shape, lengths, Values{Values::Kind::distinct}));
      cases.push_back(backward_case(shape, lengths, false));
      cases.push_back(backward_case(shape, lengths, true));
    }
    const SequencePoolShape s{kind, 9, 5, 6};
    cases.push_back(forward_case(s, integers(-3, 14), integers(-1, 2)));
    cases.back().name += " ties, lengths outside";
    cases.back().differentiable = nullptr;
    cases.push_back(backward_case(s, integers(-3, 14), false));
    cases.back().name += " lengths outside";
    cases.push_back(forward_case({kind, 200, 64, 256}, integers(1, 201), normal()));
    cases.back().benchmark = true;
    cases.push_back(backward_case({kind, 200, 64, 256}, integers(1, 201), false));
    cases.back().benchmark = true;
  }
  cases.push_back(forward_case({SequencePool::kMean, 200, 2, 3}, constant(200), normal(1000, 1)));
  cases.back().name += " large mean";
  return cases;
}

}  // namespace flyball::testing

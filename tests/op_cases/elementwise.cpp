#include "kernels/elementwise.h"

#include "tests/op_cases.h"
#include "tests/reference/elementwise.h"

namespace flyball::testing {
namespace {

// Which operand the result is written over, if any.
enum class Alias : uint8_t { none, first, second };

struct Options {
  bool accumulate = false, in_place = false, device_scalar = false;
};

std::string name_of(const char* operation, int64_t count, const Options& o) {
  return str(operation, " ", count, o.accumulate ? " accumulate" : "",
             o.in_place ? " in place" : "", o.device_scalar ? " scalar from the device" : "");
}

double bytes_of(const OpCase& op) {
  double bytes = 0;
  for (const Operand& operand : op.operands) {
    bytes +=
        4.0 * static_cast<double>(operand.shape.count()) * (operand.role == Role::in_out ? 2 : 1);
  }
  return bytes;
}

OpCase fill_case(int64_t count, const Options& o) {
  OpCase op{.operation = "elementwise", .name = name_of("fill", count, o)};
  if (o.device_scalar) op.operands.push_back({.name = "factor", .shape = {1}});
  op.operands.push_back({.name = "x",
                         .shape = {count},
                         .role = o.accumulate ? Role::in_out : Role::output,
                         .tolerance = sum_of(3)});
  set_kernel<cpu::fill<float>, cpu::fill<double>, reference::fill, cuda::fill<float>,
             cuda::fill<double>, cuda::fill<bf16>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return Fill<T>{.x = operands.get<T>("x"),
                   .value = Accumulator<T>{1.25},
                   .factor = operands.get<T>("factor"),
                   .count = count,
                   .accumulate = o.accumulate};
  });
  return op;
}

OpCase scale_case(int64_t count, const Options& o) {
  OpCase op{.operation = "elementwise", .name = name_of("scale", count, o)};
  op.operands.push_back({.name = "x",
                         .shape = {count},
                         .role = o.in_place ? Role::in_out : Role::input,
                         .tolerance = sum_of(o.in_place ? 2 : 0)});
  if (o.device_scalar) {
    op.operands.push_back({.name = "alpha", .shape = {1}, .element = Element::accumulator});
  }
  if (!o.in_place) {
    op.operands.push_back({.name = "y",
                           .shape = {count},
                           .role = o.accumulate ? Role::in_out : Role::output,
                           .tolerance = sum_of(2)});
  }
  set_kernel<cpu::scale<float>, cpu::scale<double>, reference::scale, cuda::scale<float>,
             cuda::scale<double>, cuda::scale<bf16>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return Scale<T>{.x = operands.get<T>("x"),
                    .y = operands.get<T>(o.in_place ? "x" : "y"),
                    .alpha = Accumulator<T>{0.75},
                    .alpha_pointer = operands.get<Accumulator<T>>("alpha"),
                    .count = count,
                    .accumulate = o.accumulate};
  });
  if (!o.accumulate && !o.in_place && !o.device_scalar) {
    op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
      return scale(context, v[0], 0.75);
    };
  }
  return op;
}

// Two inputs and a result, which may lie over one of them.
OpCase binary_case(const char* operation, int64_t count, Alias alias, bool accumulate) {
  OpCase op{.operation = "elementwise", .name = str(operation, " ", count)};
  op.name += alias == Alias::first ? " over a" : alias == Alias::second ? " over b" : "";
  op.name += accumulate ? " accumulate" : "";
  const auto operand = [&](const char* name, bool over, Role otherwise) {
    const bool written = over || otherwise != Role::input;
    return Operand{.name = name,
                   .shape = {count},
                   .role = over ? Role::in_out : otherwise,
                   .tolerance = sum_of(written ? 2 : 0)};
  };
  op.operands = {operand("a", alias == Alias::first, Role::input),
                 operand("b", alias == Alias::second, Role::input)};
  if (alias == Alias::none) {
    op.operands.push_back(operand("y", false, accumulate ? Role::in_out : Role::output));
  }
  return op;
}

const char* result_of(Alias alias) {
  return alias == Alias::first ? "a" : alias == Alias::second ? "b" : "y";
}

OpCase add_case(int64_t count, Alias alias) {
  OpCase op = binary_case("add", count, alias, false);
  set_kernel<cpu::add<float>, cpu::add<double>, reference::add, cuda::add<float>, cuda::add<double>,
             cuda::add<bf16>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return Add<T>{.a = operands.get<T>("a"),
                  .b = operands.get<T>("b"),
                  .y = operands.get<T>(result_of(alias)),
                  .count = count};
  });
  if (alias == Alias::none) {
    op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
      return add(context, v[0], v[1]);
    };
  }
  return op;
}

OpCase multiply_case(int64_t count, Alias alias, bool accumulate) {
  OpCase op = binary_case("multiply", count, alias, accumulate);
  set_kernel<cpu::multiply<float>, cpu::multiply<double>, reference::multiply,
             cuda::multiply<float>, cuda::multiply<double>, cuda::multiply<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return Multiply<T>{.a = operands.get<T>("a"),
                           .b = operands.get<T>("b"),
                           .y = operands.get<T>(result_of(alias)),
                           .count = count,
                           .accumulate = accumulate};
      });
  if (alias == Alias::none && !accumulate) {
    op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
      return multiply(context, v[0], v[1]);
    };
  }
  return op;
}

OpCase relu_forward_case(int64_t count, const Options& o, const Values& values) {
  OpCase op{.operation = "elementwise", .name = name_of("relu_forward", count, o)};
  op.operands.push_back({.name = "x",
                         .shape = {count},
                         .role = o.in_place ? Role::in_out : Role::input,
                         .values = values});
  if (!o.in_place) op.operands.push_back({.name = "y", .shape = {count}, .role = Role::output});
  set_kernel<cpu::relu_forward<float>, cpu::relu_forward<double>, reference::relu_forward,
             cuda::relu_forward<float>, cuda::relu_forward<double>, cuda::relu_forward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return ReluForward<T>{.x = operands.get<T>("x"),
                              .y = operands.get<T>(o.in_place ? "x" : "y"),
                              .count = count};
      });
  if (values.kind == Values::Kind::away_from_zero && !o.in_place) {
    op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
      return relu(context, v[0]);
    };
  }
  return op;
}

// y holds zeros, as the output of a ReLU does.
OpCase relu_backward_case(int64_t count, const Options& o) {
  OpCase op{.operation = "elementwise", .name = name_of("relu_backward", count, o)};
  op.operands = {{.name = "y", .shape = {count}, .values = integers(-1, 2)},
                 {.name = "dy", .shape = {count}, .role = o.in_place ? Role::in_out : Role::input}};
  if (!o.in_place) {
    op.operands.push_back({.name = "dx",
                           .shape = {count},
                           .role = o.accumulate ? Role::in_out : Role::output,
                           .tolerance = sum_of(o.accumulate ? 1 : 0)});
  }
  set_kernel<cpu::relu_backward<float>, cpu::relu_backward<double>, reference::relu_backward,
             cuda::relu_backward<float>, cuda::relu_backward<double>, cuda::relu_backward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return ReluBackward<T>{.y = operands.get<T>("y"),
                               .dy = operands.get<T>("dy"),
                               .dx = operands.get<T>(o.in_place ? "dy" : "dx"),
                               .count = count,
                               .accumulate = o.accumulate};
      });
  return op;
}

OpCase bias_relu_backward_case(int64_t rows, int64_t columns, const Options& o, bool dbias = true) {
  OpCase op{.operation = "elementwise",
            .name = str("bias_relu_backward ", rows, "x", columns, o.in_place ? " in place" : "",
                        o.accumulate ? " accumulate" : "", dbias ? "" : " no dbias")};
  // y is an output of max(z, 0): half of it zeros, some of them exactly where dy is large.
  op.operands = {
      {.name = "y", .shape = {rows, columns}, .values = integers(-1, 2)},
      {.name = "dy", .shape = {rows, columns}, .role = o.in_place ? Role::in_out : Role::input}};
  if (!o.in_place) {
    op.operands.push_back({.name = "dz", .shape = {rows, columns}, .role = Role::output});
  }
  if (dbias) {
    op.operands.push_back({.name = "dbias",
                           .shape = {columns},
                           .role = o.accumulate ? Role::in_out : Role::output,
                           .tolerance = sum_of(rows + 1),
                           .element = Element::accumulator});
  }
  set_kernel<cpu::bias_relu_backward<float>, cpu::bias_relu_backward<double>,
             reference::bias_relu_backward, cuda::bias_relu_backward<float>,
             cuda::bias_relu_backward<double>, cuda::bias_relu_backward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return BiasReluBackward<T>{.y = operands.get<T>("y"),
                                   .dy = operands.get<T>("dy"),
                                   .dz = operands.get<T>(o.in_place ? "dy" : "dz"),
                                   .dbias = operands.get<Accumulator<T>>("dbias"),
                                   .rows = rows,
                                   .columns = columns,
                                   .accumulate_dbias = o.accumulate};
      });
  return op;
}

void add_tests(std::vector<OpCase>& cases) {
  const Values away{Values::Kind::away_from_zero};
  // On either side of a vector and of a thread's piece, and several pieces.
  for (const int64_t count : {1, 31, 33, 1023, 1025, 32767, 32769, 70001}) {
    cases.push_back(fill_case(count, {}));
    cases.push_back(fill_case(count, {.accumulate = true, .device_scalar = true}));
    cases.push_back(scale_case(count, {}));
    cases.push_back(scale_case(count, {.accumulate = true}));
    cases.push_back(scale_case(count, {.in_place = true}));
    cases.push_back(scale_case(count, {.accumulate = true, .device_scalar = true}));
    for (const Alias alias : {Alias::none, Alias::first, Alias::second}) {
      cases.push_back(add_case(count, alias));
      cases.push_back(multiply_case(count, alias, false));
    }
    cases.push_back(multiply_case(count, Alias::none, true));
    cases.push_back(relu_forward_case(count, {}, away));
    cases.push_back(relu_forward_case(count, {.in_place = true}, normal()));
    cases.push_back(relu_backward_case(count, {}));
    cases.push_back(relu_backward_case(count, {.accumulate = true}));
    cases.push_back(relu_backward_case(count, {.in_place = true}));
  }
  cases.push_back(relu_forward_case(1000, {}, {Values::Kind::normal_or_nonfinite, 0, 1}));
  cases.back().name += " with NaN";
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 31}, Shape{65, 33}, Shape{63, 257},
                             Shape{1025, 10}, Shape{4097, 9}, Shape{70, 1023}}) {
    for (const bool in_place : {false, true}) {
      for (const bool accumulate : {false, true}) {
        cases.push_back(bias_relu_backward_case(shape[0], shape[1], {accumulate, in_place}));
      }
    }
    cases.push_back(bias_relu_backward_case(shape[0], shape[1], {}, false));
  }
}

void add_benchmarks(std::vector<OpCase>& cases) {
  constexpr int64_t kCount = 1 << 20;
  // The three layers of the CNN whose ReLU is fused.
  std::vector<OpCase> added = {
      bias_relu_backward_case(64, 128, {.in_place = true}),
      bias_relu_backward_case(int64_t{64} * 26 * 26, 32, {.in_place = true}),
      bias_relu_backward_case(int64_t{64} * 24 * 24, 64, {.in_place = true}),
      relu_forward_case(kCount, {}, normal()),
      relu_backward_case(kCount, {}),
      add_case(kCount, Alias::none),
      multiply_case(kCount, Alias::none, false),
      scale_case(kCount, {.accumulate = true}),
      fill_case(kCount, {}),
      add_case(kCount * 16, Alias::none),  // past the caches
  };
  for (OpCase& op : added) {
    op.benchmark = true;
    cases.push_back(std::move(op));
  }
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases;
  add_tests(cases);
  add_benchmarks(cases);
  for (OpCase& op : cases) op.bytes = bytes_of(op);
  return cases;
}

}  // namespace flyball::testing

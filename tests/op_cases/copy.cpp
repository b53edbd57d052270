#include "kernels/copy.h"

#include "tests/op_cases.h"
#include "tests/reference/copy.h"

namespace flyball::testing {
namespace {

OpCase copy_case(int64_t bytes) {
  OpCase op{.operation = "copy", .name = str("copy ", bytes, " bytes")};
  op.operands = {{.name = "from", .shape = {bytes}, .values = below(256), .element = Element::u8},
                 {.name = "to", .shape = {bytes}, .role = Role::output, .element = Element::u8}};
  set_kernel<cpu::copy, cpu::copy, reference::copy, cuda::copy, cuda::copy>(
      op, [=](auto, const Operands& operands) {
        return Copy{
            .from = operands.get<void>("from"), .to = operands.get<void>("to"), .bytes = bytes};
      });
  op.bytes = 2 * static_cast<double>(bytes);
  return op;
}

template <class From, class To>
OpCase cast_case(const char* name, int64_t count, Element from, Element to, const Values& values) {
  constexpr bool kOnCpu = !std::is_same_v<From, bf16> && !std::is_same_v<To, bf16>;
  OpCase op{.operation = "copy", .name = str("cast ", name, " ", count)};
  op.operands = {{.name = "from", .shape = {count}, .values = values, .element = from},
                 {.name = "to", .shape = {count}, .role = Role::output, .element = to}};
  const auto make = [=](auto, const Operands& operands) {
    return Cast<From, To>{
        .from = operands.get<From>("from"), .to = operands.get<To>("to"), .count = count};
  };
  if constexpr (kOnCpu) {
    set_kernel<cpu::cast<From, To>, cpu::cast<From, To>, reference::cast<From, To>,
               cuda::cast<From, To>, cuda::cast<From, To>>(op, make);
  } else {
    set_kernel<nullptr, nullptr, reference::cast<From, To>, cuda::cast<From, To>>(op, make);
  }
  op.bytes = static_cast<double>(count) * static_cast<double>(sizeof(From) + sizeof(To));
  return op;
}

OpCase transpose_case(int64_t rows, int64_t columns) {
  OpCase op{.operation = "copy", .name = str("transpose ", rows, "x", columns)};
  op.operands = {{.name = "x", .shape = {rows, columns}},
                 {.name = "y", .shape = {columns, rows}, .role = Role::output}};
  set_kernel<cpu::transpose<float>, cpu::transpose<double>, reference::transpose,
             cuda::transpose<float>, cuda::transpose<double>, cuda::transpose<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return Transpose<T>{
            .x = operands.get<T>("x"), .y = operands.get<T>("y"), .rows = rows, .columns = columns};
      });
  op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
    return transpose(context, v[0]);
  };
  op.bytes = 8.0 * static_cast<double>(rows * columns);
  return op;
}

void add_casts(std::vector<OpCase>& cases, int64_t count) {
  cases.push_back(
      cast_case<float, double>("f32 to f64", count, Element::f32, Element::f64, normal()));
  cases.push_back(
      cast_case<double, float>("f64 to f32", count, Element::f64, Element::f32, normal()));
  cases.push_back(
      cast_case<uint8_t, float>("u8 to f32", count, Element::u8, Element::f32, below(256)));
  cases.push_back(cast_case<int32_t, float>("i32 to f32", count, Element::i32, Element::f32,
                                            integers(-0x1p31, 0x1p31)));
  const Values special{Values::Kind::normal_or_nonfinite, 0, 1};
  cases.push_back(
      cast_case<float, bf16>("f32 to bf16", count, Element::f32, Element::bf16, special));
  cases.push_back(
      cast_case<bf16, float>("bf16 to f32", count, Element::bf16, Element::f32, special));
}

}  // namespace

std::vector<OpCase> copy_cases() {
  std::vector<OpCase> cases;
  for (const int64_t count : {1, 31, 33, 1025, 32767, 32769, 70001}) {
    cases.push_back(copy_case(count));
    add_casts(cases, count);
  }
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 33}, Shape{33, 1}, Shape{31, 33}, Shape{32, 32},
                             Shape{65, 127}, Shape{1025, 35}, Shape{3, 16385}}) {
    cases.push_back(transpose_case(shape[0], shape[1]));
  }
  std::vector<OpCase> added;
  added.push_back(copy_case(int64_t{1} << 26));
  add_casts(added, int64_t{1} << 20);
  added.push_back(transpose_case(1024, 1024));
  for (OpCase& op : added) {
    op.benchmark = true;
    cases.push_back(std::move(op));
  }
  return cases;
}

}  // namespace flyball::testing

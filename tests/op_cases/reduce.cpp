#include "kernels/reduce.h"

#include "tests/op_cases.h"
#include "tests/reference/reduce.h"

namespace flyball::testing {
namespace {

OpCase sum_case(int64_t count, double alpha, bool accumulate, const Values& values = normal()) {
  OpCase op{.operation = "reduce",
            .name = str("sum ", count, alpha != 1 ? str(" alpha ", alpha) : "",
                        accumulate ? " accumulate" : "")};
  // In f64 up to the last rounding.
  op.operands = {{.name = "x", .shape = {count}, .values = values},
                 {.name = "y",
                  .shape = {1},
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = {1, 2 * roundings(count + 2)}}};
  set_kernel<cpu::reduce_sum<float>, cpu::reduce_sum<double>, reference::reduce_sum,
             cuda::reduce_sum<float>, cuda::reduce_sum<double>, cuda::reduce_sum<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return ReduceSum<T>{.x = operands.get<T>("x"),
                            .y = operands.get<T>("y"),
                            .count = count,
                            .alpha = alpha,
                            .accumulate = accumulate};
      });
  if (alpha == 1 && !accumulate) {
    op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
      return sum(context, v[0]);
    };
  }
  op.flops = static_cast<double>(count);
  op.bytes = 4.0 * static_cast<double>(count);
  return op;
}

OpCase rows_case(int64_t rows, int64_t columns, bool accumulate, const Values& values = normal()) {
  OpCase op{.operation = "reduce",
            .name = str("rows ", rows, "x", columns, accumulate ? " accumulate" : "")};
  op.operands = {{.name = "x", .shape = {rows, columns}, .values = values},
                 {.name = "y",
                  .shape = {columns},
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(rows + 1),
                  .element = Element::accumulator}};
  set_kernel<cpu::reduce_rows<float>, cpu::reduce_rows<double>, reference::reduce_rows,
             cuda::reduce_rows<float>, cuda::reduce_rows<double>, cuda::reduce_rows<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return ReduceRows<T>{.x = operands.get<T>("x"),
                             .y = operands.get<Accumulator<T>>("y"),
                             .rows = rows,
                             .columns = columns,
                             .accumulate = accumulate};
      });
  op.flops = static_cast<double>(rows * columns);
  op.bytes = 4.0 * static_cast<double>(rows * columns + columns);
  return op;
}

OpCase squares_case(int64_t count, bool accumulate, const Values& values = normal()) {
  OpCase op{.operation = "reduce",
            .name = str("sum_of_squares ", count, accumulate ? " accumulate" : "")};
  // The result is f64 in every dtype, and the square of an f32 is exact in f64.
  op.operands = {{.name = "x", .shape = {count}, .values = values},
                 {.name = "y",
                  .shape = {1},
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(count + 1),
                  .element = Element::f64}};
  set_kernel<cpu::sum_of_squares<float>, cpu::sum_of_squares<double>, reference::sum_of_squares,
             cuda::sum_of_squares<float>, cuda::sum_of_squares<double>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return SumOfSquares<T>{.x = operands.get<T>("x"),
                               .y = operands.get<double>("y"),
                               .count = count,
                               .accumulate = accumulate};
      });
  op.flops = 2 * static_cast<double>(count);
  op.bytes = 4.0 * static_cast<double>(count);
  return op;
}

}  // namespace

std::vector<OpCase> reduce_cases() {
  std::vector<OpCase> cases;
  // On either side of a vector, of a block of lanes, of a thread's piece, and several pieces.
  for (const int64_t count : {1, 31, 33, 255, 257, 1023, 1025, 16383, 16385, 32769, 200003}) {
    cases.push_back(sum_case(count, 1, false));
    cases.push_back(sum_case(count, 0.25, true));
    cases.push_back(squares_case(count, false));
    cases.push_back(squares_case(count, true, {Values::Kind::normal_or_nonfinite, 0, 1}));
  }
  cases.push_back(sum_case(70001, 1.0 / 70001, false, normal(1000, 1)));
  cases.back().name += " large mean";
  cases.push_back(sum_case(0, 1, false));
  cases.back().differentiable = nullptr;
  // Columns on either side of a tile, rows of a tile and of a group.
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 31}, Shape{63, 33}, Shape{65, 255},
                             Shape{1025, 257}, Shape{4099, 7}, Shape{33, 1025}}) {
    cases.push_back(rows_case(shape[0], shape[1], false));
    cases.push_back(rows_case(shape[0], shape[1], true));
  }
  cases.push_back(rows_case(1025, 33, false, normal(1000, 1)));
  cases.back().name += " large mean";
  std::vector<OpCase> added = {
      sum_case(int64_t{1} << 20, 1, false),  sum_case(int64_t{1} << 26, 1, false),
      squares_case(int64_t{1} << 20, false), squares_case(int64_t{1} << 26, false),
      rows_case(36864, 64, false),           rows_case(64, 128, false)};
  for (OpCase& op : added) {
    op.benchmark = true;
    cases.push_back(std::move(op));
  }
  return cases;
}

}  // namespace flyball::testing

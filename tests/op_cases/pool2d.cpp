#include "kernels/pool2d.h"

#include "tests/op_cases.h"
#include "tests/reference/pool2d.h"

namespace flyball::testing {
namespace {

std::string name_of(const Pool2dShape& d) {
  return str(d.n, "x", d.h, "x", d.w, "x", d.c, " window ", d.window, " stride ", d.stride,
             d.padding > 0 ? str(" padding ", d.padding) : "");
}

Shape x_shape(const Pool2dShape& d) { return {d.n, d.h, d.w, d.c}; }
Shape y_shape(const Pool2dShape& d) { return {d.n, d.p(), d.q(), d.c}; }

OpCase named_case(const Pool2dShape& d, const std::string& pass) {
  return {.operation = "pool2d", .name = pass + " " + name_of(d)};
}

// The most windows that one element lies in.
int64_t windows_over_element(const Pool2dShape& d) {
  const int64_t along = (d.window + d.stride - 1) / d.stride;
  return along * along;
}

struct Max {
  bool relu = false, argmax = true;
};

OpCase max_forward_case(const Pool2dShape& d, const Max& max, const Values& values) {
  OpCase op = named_case(d, "max_forward");
  op.name += str(max.relu ? " relu" : "", max.argmax ? "" : " no argmax");
  op.operands = {{.name = "x", .shape = x_shape(d), .values = values},
                 {.name = "y", .shape = y_shape(d), .role = Role::output}};
  if (max.argmax) {
    op.operands.push_back(
        {.name = "argmax", .shape = y_shape(d), .role = Role::output, .element = Element::u8});
  }
  set_kernel<cpu::max_pool2d_forward<float>, cpu::max_pool2d_forward<double>,
             reference::max_pool2d_forward, cuda::max_pool2d_forward<float>,
             cuda::max_pool2d_forward<double>, cuda::max_pool2d_forward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return MaxPool2dForward<T>{.x = operands.get<T>("x"),
                                   .y = operands.get<T>("y"),
                                   .argmax = operands.get<uint8_t>("argmax"),
                                   .shape = d,
                                   .relu = max.relu};
      });
  if (max.argmax && values.kind == Values::Kind::distinct) {
    op.differentiable = [=](const Context& context, const std::vector<Variable>& v) {
      return max_pool2d(
          context, v[0],
          {.window = d.window, .stride = d.stride, .padding = d.padding, .relu = max.relu});
    };
  }
  op.bytes = static_cast<double>(4 * x_shape(d).count() + 5 * y_shape(d).count());
  return op;
}

// argmax holds every place, kNoWinner and, where the window is padded, places of the padding.
OpCase max_backward_case(const Pool2dShape& d, bool accumulate) {
  OpCase op = named_case(d, "max_backward");
  op.name += accumulate ? " accumulate" : "";
  op.operands = {{.name = "dy", .shape = y_shape(d)},
                 {.name = "argmax",
                  .shape = y_shape(d),
                  .values = below(d.window * d.window),
                  .element = Element::u8},
                 {.name = "dx",
                  .shape = x_shape(d),
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(windows_over_element(d))}};
  set_kernel<cpu::max_pool2d_backward<float>, cpu::max_pool2d_backward<double>,
             reference::max_pool2d_backward, cuda::max_pool2d_backward<float>,
             cuda::max_pool2d_backward<double>, cuda::max_pool2d_backward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return MaxPool2dBackward<T>{.dy = operands.get<T>("dy"),
                                    .argmax = operands.get<uint8_t>("argmax"),
                                    .dx = operands.get<T>("dx"),
                                    .shape = d,
                                    .accumulate = accumulate};
      });
  op.bytes = static_cast<double>(4 * x_shape(d).count() + 5 * y_shape(d).count());
  return op;
}

OpCase average_forward_case(const Pool2dShape& d) {
  OpCase op = named_case(d, "average_forward");
  op.operands = {{.name = "x", .shape = x_shape(d)},
                 {.name = "y",
                  .shape = y_shape(d),
                  .role = Role::output,
                  .tolerance = sum_of(d.window * d.window + 2)}};
  set_kernel<cpu::average_pool2d_forward<float>, cpu::average_pool2d_forward<double>,
             reference::average_pool2d_forward, cuda::average_pool2d_forward<float>,
             cuda::average_pool2d_forward<double>, cuda::average_pool2d_forward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return AveragePool2dForward<T>{
            .x = operands.get<T>("x"), .y = operands.get<T>("y"), .shape = d};
      });
  op.differentiable = [=](const Context& context, const std::vector<Variable>& v) {
    return average_pool2d(context, v[0],
                          {.window = d.window, .stride = d.stride, .padding = d.padding});
  };
  op.bytes = 4.0 * static_cast<double>(x_shape(d).count() + y_shape(d).count());
  return op;
}

OpCase average_backward_case(const Pool2dShape& d, bool accumulate) {
  OpCase op = named_case(d, "average_backward");
  op.name += accumulate ? " accumulate" : "";
  op.operands = {{.name = "dy", .shape = y_shape(d)},
                 {.name = "dx",
                  .shape = x_shape(d),
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(windows_over_element(d) + 2)}};
  set_kernel<cpu::average_pool2d_backward<float>, cpu::average_pool2d_backward<double>,
             reference::average_pool2d_backward, cuda::average_pool2d_backward<float>,
             cuda::average_pool2d_backward<double>, cuda::average_pool2d_backward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return AveragePool2dBackward<T>{.dy = operands.get<T>("dy"),
                                        .dx = operands.get<T>("dx"),
                                        .shape = d,
                                        .accumulate = accumulate};
      });
  op.bytes = 4.0 * static_cast<double>(x_shape(d).count() + y_shape(d).count());
  return op;
}

OpCase global_forward_case(const Shape& x, const Values& values = normal()) {
  OpCase op{.operation = "pool2d", .name = "global_average_forward " + x.str()};
  const int64_t pixels = x[1] * x[2];
  op.operands = {
      {.name = "x", .shape = x, .values = values},
      {.name = "y", .shape = {x[0], x[3]}, .role = Role::output, .tolerance = sum_of(pixels + 2)}};
  set_kernel<cpu::global_average_pool_forward<float>, cpu::global_average_pool_forward<double>,
             reference::global_average_pool_forward, cuda::global_average_pool_forward<float>,
             cuda::global_average_pool_forward<double>, cuda::global_average_pool_forward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return GlobalAveragePoolForward<T>{.x = operands.get<T>("x"),
                                           .y = operands.get<T>("y"),
                                           .n = x[0],
                                           .pixels = pixels,
                                           .c = x[3]};
      });
  op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
    return global_average_pool(context, v[0]);
  };
  op.bytes = 4.0 * static_cast<double>(x.count() + x[0] * x[3]);
  return op;
}

OpCase global_backward_case(const Shape& x, bool accumulate) {
  OpCase op{.operation = "pool2d", .name = "global_average_backward " + x.str()};
  op.name += accumulate ? " accumulate" : "";
  op.operands = {{.name = "dy", .shape = {x[0], x[3]}},
                 {.name = "dx",
                  .shape = x,
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(3)}};
  set_kernel<cpu::global_average_pool_backward<float>, cpu::global_average_pool_backward<double>,
             reference::global_average_pool_backward, cuda::global_average_pool_backward<float>,
             cuda::global_average_pool_backward<double>, cuda::global_average_pool_backward<bf16>>(
      op, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return GlobalAveragePoolBackward<T>{.dy = operands.get<T>("dy"),
                                            .dx = operands.get<T>("dx"),
                                            .n = x[0],
                                            .pixels = x[1] * x[2],
                                            .c = x[3],
                                            .accumulate = accumulate};
      });
  op.bytes = 4.0 * static_cast<double>(x.count() + x[0] * x[3]);
  return op;
}

// n, h, w, c, window, stride, padding
constexpr Pool2dShape kTestShapes[] = {
    {1, 1, 1, 1, 1, 1, 0},   {1, 2, 2, 1, 2, 2, 0},   {2, 6, 8, 5, 2, 2, 0},
    {3, 7, 9, 31, 2, 2, 0},  // a row and a column in no window
    {2, 5, 4, 33, 2, 1, 0},  {2, 7, 7, 16, 3, 2, 1},  {2, 9, 8, 3, 3, 1, 1},
    {2, 9, 9, 4, 3, 3, 0},   {1, 11, 10, 2, 2, 3, 0},  // a stride that skips elements
    {1, 13, 11, 3, 5, 3, 2}, {2, 7, 6, 7, 4, 1, 2},   {1, 17, 16, 1, 15, 1, 7},
};

void add_tests(std::vector<OpCase>& cases) {
  const Values distinct{Values::Kind::distinct};
  for (const Pool2dShape& d : kTestShapes) {
    for (const bool relu : {false, true}) {
      cases.push_back(max_forward_case(d, {.relu = relu}, distinct));
      cases.push_back(max_forward_case(d, {.relu = relu, .argmax = false}, normal()));
      cases.push_back(max_forward_case(d, {.relu = relu}, integers(-1, 2)));
      cases.back().name += " ties";
    }
    cases.push_back(average_forward_case(d));
    for (const bool accumulate : {false, true}) {
      cases.push_back(max_backward_case(d, accumulate));
      cases.push_back(average_backward_case(d, accumulate));
    }
    cases.push_back(max_backward_case(d, false));
    cases.back().name += " no winners";
    cases.back().operands[1].values = integers(250, 256);
  }
  for (const Shape& x :
       {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{3, 4, 4, 33}, Shape{2, 31, 33, 17}}) {
    cases.push_back(global_forward_case(x));
    cases.push_back(global_backward_case(x, false));
    cases.push_back(global_backward_case(x, true));
  }
  cases.push_back(global_forward_case({2, 32, 32, 3}, normal(1000, 1)));
  cases.back().name += " large mean";
}

void add_benchmarks(std::vector<OpCase>& cases) {
  const Pool2dShape cnn{.n = 64, .h = 24, .w = 24, .c = 64, .window = 2, .stride = 2};
  const Pool2dShape overlapping{
      .n = 64, .h = 32, .w = 32, .c = 64, .window = 3, .stride = 2, .padding = 1};
  std::vector<OpCase> added = {
      max_forward_case(cnn, {.relu = true}, normal()),
      max_forward_case(cnn, {.relu = false}, normal()),
      max_backward_case(cnn, false),
      max_forward_case(overlapping, {}, normal()),
      max_backward_case(overlapping, false),
      average_forward_case(cnn),
      average_backward_case(cnn, false),
      global_forward_case({64, 4, 4, 512}),
      global_backward_case({64, 4, 4, 512}, false),
  };
  for (OpCase& op : added) {
    op.benchmark = true;
    cases.push_back(std::move(op));
  }
}

}  // namespace

std::vector<OpCase> pool2d_cases() {
  std::vector<OpCase> cases;
  add_tests(cases);
  add_benchmarks(cases);
  return cases;
}

}  // namespace flyball::testing

#include "kernels/conv2d.h"

#include "tests/op_cases.h"
#include "tests/reference/conv2d.h"

namespace flyball::testing {
namespace {

std::string name_of(const Conv2dShape& d) {
  return str(d.n, "x", d.h, "x", d.w, "x", d.c, " -> ", d.k, ", ", d.r, "x", d.s,
             d.stride > 1 ? str(" stride ", d.stride) : "",
             d.padding > 0 ? str(" padding ", d.padding) : "");
}

Shape x_shape(const Conv2dShape& d) { return {d.n, d.h, d.w, d.c}; }
Shape filters_shape(const Conv2dShape& d) { return {d.k, d.r, d.s, d.c}; }
Shape y_shape(const Conv2dShape& d) { return {d.n, d.p(), d.q(), d.k}; }

OpCase named_case(const Conv2dShape& d, const std::string& pass) {
  OpCase op{.operation = "conv2d", .name = pass + " " + name_of(d)};
  const auto pixels = static_cast<double>(d.n * d.p() * d.q());
  op.flops = 2 * pixels * static_cast<double>(d.k * d.r * d.s * d.c);
  op.bytes =
      4.0 * static_cast<double>(x_shape(d).count() + filters_shape(d).count() + y_shape(d).count());
  return op;
}

struct Epilogue {
  bool bias = false, relu = false;
};

OpCase forward_case(const Conv2dShape& d, const Epilogue& e, const Values& values = normal()) {
  OpCase op = named_case(d, "forward");
  op.name += str(e.bias ? " bias" : "", e.relu ? " relu" : "");
  const bool lattice = values.kind == Values::Kind::integers;
  op.operands = {
      {.name = "x", .shape = x_shape(d), .values = values},
      {.name = "filters", .shape = filters_shape(d), .values = lattice ? values : normal()}};
  if (e.bias) {
    op.operands.push_back({.name = "bias",
                           .shape = {d.k},
                           .values = lattice ? Values{Values::Kind::halves, -2, 2} : normal()});
  }
  op.operands.push_back({.name = "y",
                         .shape = y_shape(d),
                         .role = Role::output,
                         .tolerance = sum_of(d.r * d.s * d.c + 1)});
  set_kernel<cpu::conv2d_forward<float>, cpu::conv2d_forward<double>, reference::conv2d_forward,
             cuda::conv2d_forward<float>, cuda::conv2d_forward<double>>(
      op, [d, e](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return Conv2dForward<T>{.x = operands.get<T>("x"),
                                .filters = operands.get<T>("filters"),
                                .bias = operands.get<T>("bias"),
                                .y = operands.get<T>("y"),
                                .shape = d,
                                .relu = e.relu};
      });
  if (!e.relu || lattice) {
    op.differentiable = [d, e](const Context& context, const std::vector<Variable>& v) {
      return conv2d(context, v[0], v[1], e.bias ? v[2] : Variable(),
                    {.stride = d.stride, .padding = d.padding, .relu = e.relu});
    };
  }
  return op;
}

OpCase backward_data_case(const Conv2dShape& d, bool accumulate) {
  OpCase op = named_case(d, "backward_data");
  op.name += accumulate ? " accumulate" : "";
  op.operands = {{.name = "dy", .shape = y_shape(d)},
                 {.name = "filters", .shape = filters_shape(d)},
                 {.name = "dx",
                  .shape = x_shape(d),
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(d.r * d.s * d.k + 1)}};
  set_kernel<cpu::conv2d_backward_data<float>, cpu::conv2d_backward_data<double>,
             reference::conv2d_backward_data, cuda::conv2d_backward_data<float>,
             cuda::conv2d_backward_data<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return Conv2dBackwardData<T>{.dy = operands.get<T>("dy"),
                                 .filters = operands.get<T>("filters"),
                                 .dx = operands.get<T>("dx"),
                                 .shape = d,
                                 .accumulate = accumulate};
  });
  return op;
}

OpCase backward_weights_case(const Conv2dShape& d, bool accumulate, const Values& x = normal()) {
  OpCase op = named_case(d, "backward_weights");
  op.name += accumulate ? " accumulate" : "";
  op.operands = {{.name = "x", .shape = x_shape(d), .values = x},
                 {.name = "dy", .shape = y_shape(d)},
                 {.name = "dfilters",
                  .shape = filters_shape(d),
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = sum_of(d.n * d.p() * d.q() + 1)}};
  set_kernel<cpu::conv2d_backward_weights<float>, cpu::conv2d_backward_weights<double>,
             reference::conv2d_backward_weights, cuda::conv2d_backward_weights<float>,
             cuda::conv2d_backward_weights<double>>(op, [=](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return Conv2dBackwardWeights<T>{.x = operands.get<T>("x"),
                                    .dy = operands.get<T>("dy"),
                                    .dfilters = operands.get<T>("dfilters"),
                                    .shape = d,
                                    .accumulate = accumulate};
  });
  return op;
}

// n, h, w, c, k, r, s, stride, padding
constexpr Conv2dShape kTestShapes[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0},      // one product
    {2, 5, 5, 3, 4, 3, 3, 1, 1},      //
    {3, 7, 9, 2, 5, 3, 3, 2, 1},      // a stride that leaves columns over
    {2, 9, 8, 3, 4, 5, 5, 3, 2},      // a stride that skips elements
    {1, 6, 6, 8, 16, 1, 1, 1, 0},     // pointwise
    {2, 7, 7, 5, 3, 1, 1, 2, 0},      //
    {2, 9, 9, 16, 8, 1, 1, 2, 0},     //
    {2, 4, 5, 3, 6, 1, 1, 1, 1},      // pointwise with padding: a rim of bias alone
    {2, 6, 7, 4, 8, 1, 3, 1, 1},      // rectangular filters
    {2, 8, 5, 3, 3, 5, 3, 2, 2},      //
    {9, 8, 8, 16, 8, 3, 3, 1, 1},     // batches on either side of the groups
    {17, 6, 6, 8, 8, 3, 3, 1, 0},     //
    {33, 5, 5, 8, 7, 3, 3, 1, 1},     //
    {2, 11, 11, 32, 33, 3, 3, 1, 0},  // channels on either side of the vectors
    {2, 4, 4, 64, 31, 3, 3, 1, 1},    //
    {1, 28, 28, 1, 32, 3, 3, 1, 0},   // the first layer on MNIST
    {2, 12, 12, 3, 16, 5, 5, 1, 2},   //
    {1, 3, 3, 2, 2, 3, 3, 1, 2},      // windows that hold one element
    {2, 10, 10, 16, 16, 3, 3, 2, 0},  //
    {2, 10, 10, 16, 24, 3, 3, 3, 1},  //
    {1, 4, 4, 1, 1, 4, 4, 1, 0},      // one window
};

// Enough work for the largest tiles on CUDA: whole and odd channels, and a stride.
constexpr Conv2dShape kLargeShapes[] = {
    {2, 16, 16, 136, 136, 3, 3, 1, 1},
    {2, 16, 16, 135, 137, 3, 3, 1, 1},
    {3, 32, 32, 72, 72, 3, 3, 2, 1},
};

// Batch 64: the convolutions of the CNN, of ResNet-18 on 32x32 images.
constexpr Conv2dShape kBenchmarkShapes[] = {
    {64, 28, 28, 1, 32, 3, 3, 1, 0},    {64, 26, 26, 32, 64, 3, 3, 1, 0},
    {64, 32, 32, 3, 64, 3, 3, 1, 1},    {64, 32, 32, 64, 64, 3, 3, 1, 1},
    {64, 32, 32, 64, 128, 3, 3, 2, 1},  {64, 32, 32, 64, 128, 1, 1, 2, 0},
    {64, 16, 16, 128, 128, 3, 3, 1, 1}, {64, 16, 16, 128, 256, 3, 3, 2, 1},
    {64, 16, 16, 128, 256, 1, 1, 2, 0}, {64, 8, 8, 256, 256, 3, 3, 1, 1},
    {64, 8, 8, 256, 512, 3, 3, 2, 1},   {64, 8, 8, 256, 512, 1, 1, 2, 0},
    {64, 4, 4, 512, 512, 3, 3, 1, 1},
};

}  // namespace

std::vector<OpCase> conv2d_cases() {
  std::vector<OpCase> cases;
  for (const Conv2dShape& d : kTestShapes) {
    cases.push_back(forward_case(d, {}));
    cases.push_back(forward_case(d, {.bias = true}));
    cases.push_back(forward_case(d, {.relu = true}));
    cases.push_back(forward_case(d, {.bias = true, .relu = true}));
    for (const bool accumulate : {false, true}) {
      cases.push_back(backward_data_case(d, accumulate));
      cases.push_back(backward_weights_case(d, accumulate));
    }
  }
  for (const Conv2dShape& d : kLargeShapes) {
    for (OpCase& op :
         std::vector<OpCase>{forward_case(d, {.bias = true, .relu = true}),
                             backward_data_case(d, true), backward_weights_case(d, true)}) {
      op.differentiable = nullptr;  // too large for central differences
      cases.push_back(std::move(op));
    }
  }
  // Sums that keep away from the kink of the ReLU.
  for (const int i : {1, 2, 3, 5, 8}) {
    cases.push_back(forward_case(kTestShapes[i], {.bias = true, .relu = true}, integers(-2, 3)));
    cases.back().name += " integers";
  }
  cases.push_back(forward_case(kTestShapes[10], {.bias = true}, normal(1000, 1)));
  cases.back().name += " large mean";
  cases.back().differentiable = nullptr;
  cases.push_back(backward_weights_case(kTestShapes[10], false, normal(1000, 1)));
  cases.back().name += " large mean";
  for (const Conv2dShape& d : kBenchmarkShapes) {
    const bool cnn = d.h == 28 || d.h == 26;  // ResNet's have neither: batch norm follows
    for (OpCase& op :
         std::vector<OpCase>{forward_case(d, {.bias = cnn, .relu = cnn}),
                             backward_data_case(d, false), backward_weights_case(d, false)}) {
      op.benchmark = true;
      cases.push_back(std::move(op));
    }
  }
  return cases;
}

}  // namespace flyball::testing

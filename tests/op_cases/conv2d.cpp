#include "kernels/conv2d.h"

#include "kernels/cpu/winograd.h"
#include "tests/op_cases.h"
#include "tests/op_cases/winograd.h"
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

// What multiplies: f32 and f64 arithmetic, or tensor cores, on f32 operands rounded to tf32 or on
// bf16.
enum class Unit { simt, tf32, bf16 };

OpCase named_case(const Conv2dShape& d, Unit unit, const std::string& pass) {
  const char* units[] = {"", "tf32 ", "bf16 "};
  OpCase op{.operation = "conv2d",
            .name = str(units[static_cast<int>(unit)], pass, " ", name_of(d))};
  const auto pixels = static_cast<double>(d.n * d.p() * d.q());
  op.flops = 2 * pixels * static_cast<double>(d.k * d.r * d.s * d.c);
  op.bytes =
      4.0 * static_cast<double>(x_shape(d).count() + filters_shape(d).count() + y_shape(d).count());
  return op;
}

// Of sums of `products` products, then the bias or what was there. Products of two bf16 or tf32 are
// exact in f32; a tensor core may truncate where it adds, which is two units of roundoff and does
// not average out.
Tolerance tolerance_of(int64_t products, Unit unit) {
  Tolerance tolerance = sum_of(products + 1);
  if (unit == Unit::tf32) tolerance = tf32_sum_of(products + 1);
  if (unit != Unit::simt) tolerance.kernel = 2 * static_cast<double>(products + 1);
  return tolerance;
}

// Sets the kernel of one pass for a unit.
template <auto cpu_f32, auto cpu_f64, auto oracle, auto cuda_f32, auto cuda_f64, auto cuda_bf16,
          class MakeArguments>
void set_unit(OpCase& op, Unit unit, MakeArguments make) {
  switch (unit) {
    case Unit::simt:
      return set_kernel<cpu_f32, cpu_f64, oracle, cuda_f32, cuda_f64>(op, make);
    case Unit::tf32:
      return set_kernel<nullptr, nullptr, oracle, cuda_f32>(op, make);
    case Unit::bf16:
      return set_kernel<nullptr, nullptr, oracle, nullptr, nullptr, cuda_bf16>(op, make);
  }
}

struct Epilogue {
  bool bias = false, relu = false;
  Unit unit = Unit::simt;
};

OpCase forward_case(const Conv2dShape& d, const Epilogue& e, const Values& values = normal()) {
  OpCase op = named_case(d, e.unit, "forward");
  op.name += str(e.bias ? " bias" : "", e.relu ? " relu" : "");
  const bool lattice = values.kind == Values::Kind::integers;
  op.operands = {
      {.name = "x", .shape = x_shape(d), .values = values},
      {.name = "filters", .shape = filters_shape(d), .values = lattice ? values : normal()}};
  if (e.bias) {
    op.operands.push_back({.name = "bias",
                           .shape = {d.k},
                           .values = lattice ? Values{Values::Kind::halves, -2, 2} : normal(),
                           .element = Element::accumulator});
  }
  op.operands.push_back({.name = "y",
                         .shape = y_shape(d),
                         .role = Role::output,
                         .tolerance = tolerance_of(d.r * d.s * d.c, e.unit)});
  set_unit<cpu::conv2d_forward<float>, cpu::conv2d_forward<double>, reference::conv2d_forward,
           cuda::conv2d_forward<float>, cuda::conv2d_forward<double>, cuda::conv2d_forward<bf16>>(
      op, e.unit, [d, e](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return Conv2dForward<T>{.x = operands.get<T>("x"),
                                .filters = operands.get<T>("filters"),
                                .bias = operands.get<Accumulator<T>>("bias"),
                                .y = operands.get<T>("y"),
                                .shape = d,
                                .relu = e.relu,
                                .tf32 = e.unit == Unit::tf32};
      });
  if (e.unit == Unit::simt && (!e.relu || lattice)) {
    op.differentiable = [d, e](const Context& context, const std::vector<Variable>& v) {
      return conv2d(context, v[0], v[1], e.bias ? v[2] : Variable(),
                    {.stride = d.stride, .padding = d.padding, .relu = e.relu});
    };
  }
  return op;
}

OpCase backward_data_case(const Conv2dShape& d, bool accumulate, Unit unit = Unit::simt) {
  OpCase op = named_case(d, unit, "backward_data");
  op.name += accumulate ? " accumulate" : "";
  op.operands = {{.name = "dy", .shape = y_shape(d)},
                 {.name = "filters", .shape = filters_shape(d)},
                 {.name = "dx",
                  .shape = x_shape(d),
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = tolerance_of(d.r * d.s * d.k, unit)}};
  set_unit<cpu::conv2d_backward_data<float>, cpu::conv2d_backward_data<double>,
           reference::conv2d_backward_data, cuda::conv2d_backward_data<float>,
           cuda::conv2d_backward_data<double>, cuda::conv2d_backward_data<bf16>>(
      op, unit, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return Conv2dBackwardData<T>{.dy = operands.get<T>("dy"),
                                     .filters = operands.get<T>("filters"),
                                     .dx = operands.get<T>("dx"),
                                     .shape = d,
                                     .accumulate = accumulate,
                                     .tf32 = unit == Unit::tf32};
      });
  return op;
}

OpCase backward_weights_case(const Conv2dShape& d, bool accumulate, const Values& x = normal(),
                             Unit unit = Unit::simt) {
  OpCase op = named_case(d, unit, "backward_weights");
  op.name += accumulate ? " accumulate" : "";
  op.operands = {{.name = "x", .shape = x_shape(d), .values = x},
                 {.name = "dy", .shape = y_shape(d)},
                 {.name = "dfilters",
                  .shape = filters_shape(d),
                  .role = accumulate ? Role::in_out : Role::output,
                  .tolerance = tolerance_of(d.n * d.p() * d.q(), unit),
                  .element = Element::accumulator}};
  set_unit<cpu::conv2d_backward_weights<float>, cpu::conv2d_backward_weights<double>,
           reference::conv2d_backward_weights, cuda::conv2d_backward_weights<float>,
           cuda::conv2d_backward_weights<double>, cuda::conv2d_backward_weights<bf16>>(
      op, unit, [=](auto zero, const Operands& operands) {
        using T = decltype(zero);
        return Conv2dBackwardWeights<T>{.x = operands.get<T>("x"),
                                        .dy = operands.get<T>("dy"),
                                        .dfilters = operands.get<Accumulator<T>>("dfilters"),
                                        .shape = d,
                                        .accumulate = accumulate,
                                        .tf32 = unit == Unit::tf32};
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

// Winograd's tiles: one, whole ones, edges of 1, 2 and 3, several groups of them.
constexpr Conv2dShape kWinogradShapes[] = {
    {1, 4, 4, 1, 1, 3, 3, 1, 1},    {2, 8, 12, 16, 32, 3, 3, 1, 1},
    {2, 7, 11, 17, 15, 3, 3, 1, 0}, {3, 9, 10, 33, 40, 3, 3, 1, 1},
    {2, 9, 5, 7, 20, 3, 3, 1, 2},   {2, 1, 13, 5, 6, 3, 3, 1, 1},
    {2, 2, 1, 31, 65, 3, 3, 1, 2},  {30, 16, 16, 16, 17, 3, 3, 1, 1},
    {1, 9, 8, 135, 72, 3, 3, 1, 1}, {1, 8, 5, 72, 137, 3, 3, 1, 1},
};

// Tensor cores: whole vectors of channels and not, filters up to 7 x 7, padding up to 3.
constexpr Conv2dShape kTensorShapes[] = {
    {2, 9, 9, 8, 16, 3, 3, 1, 1},   {2, 10, 9, 64, 64, 3, 3, 2, 1}, {1, 11, 11, 8, 24, 5, 5, 1, 2},
    {1, 12, 13, 3, 64, 7, 7, 2, 3}, {1, 9, 9, 16, 8, 7, 7, 1, 3},   {3, 8, 8, 40, 72, 1, 1, 1, 0},
    {2, 7, 9, 64, 136, 1, 1, 2, 0}, {1, 8, 8, 1, 8, 3, 3, 1, 0},    {2, 5, 5, 72, 8, 3, 3, 3, 2},
    {1, 6, 7, 24, 16, 1, 3, 1, 1},  {3, 9, 7, 12, 20, 3, 3, 1, 1},
};
// Enough work for the larger tiles, with and without splits.
constexpr Conv2dShape kLargeTensorShapes[] = {
    {2, 16, 16, 136, 136, 3, 3, 1, 1}, {2, 16, 16, 135, 137, 3, 3, 1, 1},
    {3, 32, 32, 72, 72, 3, 3, 2, 1},   {17, 32, 32, 8, 40, 3, 3, 1, 1},
    {17, 32, 32, 3, 72, 1, 1, 1, 0},   {17, 33, 31, 72, 8, 1, 1, 1, 0},
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

void add_tensor_tests(std::vector<OpCase>& cases, Unit unit) {
  const auto add = [&](const Conv2dShape& d, bool every) {
    for (const bool last : {false, true}) {
      if (!every && !last) continue;
      cases.push_back(forward_case(d, {.bias = last, .relu = last, .unit = unit}));
      cases.push_back(backward_data_case(d, last, unit));
      cases.push_back(backward_weights_case(d, last, normal(), unit));
    }
  };
  for (const Conv2dShape& d : kTestShapes) add(d, false);
  for (const Conv2dShape& d : kTensorShapes) add(d, true);
  for (const Conv2dShape& d : kLargeTensorShapes) add(d, false);
  cases.push_back(forward_case(kTestShapes[10], {.bias = true, .unit = unit}, normal(1000, 1)));
  cases.back().name += " large mean";
  cases.push_back(backward_weights_case(kTestShapes[10], false, normal(1000, 1), unit));
  cases.back().name += " large mean";
  // Exact, also in bf16: sums of at most 27 * 4 + 3/2 in halves have 8 bits.
  for (const int i : {1, 5, 7}) {
    OpCase op =
        forward_case(kTestShapes[i], {.bias = true, .relu = true, .unit = unit}, integers(-2, 3));
    op.operands.back().tolerance = {};
    op.name += " integers";
    cases.push_back(std::move(op));
  }
}

void add_every_case(std::vector<OpCase>& cases, const Conv2dShape& d) {
  cases.push_back(forward_case(d, {}));
  cases.push_back(forward_case(d, {.bias = true}));
  cases.push_back(forward_case(d, {.relu = true}));
  cases.push_back(forward_case(d, {.bias = true, .relu = true}));
  for (const bool accumulate : {false, true}) {
    cases.push_back(backward_data_case(d, accumulate));
    cases.push_back(backward_weights_case(d, accumulate));
  }
}

// Whether the CPU makes a case this way, as far as the shape decides.
bool goes_by_winograd(const OpCase& op, const Conv2dShape& d) {
  namespace winograd = cpu::winograd;
  const std::string result = op.operands.back().name;
  if (result == "y") return winograd::applies(Conv2dForward<float>{.shape = d});
  if (result == "dx") return winograd::applies(Conv2dBackwardData<float>{.shape = d});
  return winograd::applies(Conv2dBackwardWeights<float>{.shape = d});
}

}  // namespace

std::vector<OpCase> winograd_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](const Conv2dShape& d) {
    if (d.r != 3 || d.s != 3 || d.stride != 1) return;
    std::vector<OpCase> all;
    add_every_case(all, d);
    for (OpCase& op : all) {
      op.name = "winograd " + op.name;
      expect_winograd(op, d);
      cases.push_back(std::move(op));
    }
  };
  for (const Conv2dShape& d : kTestShapes) add(d);
  for (const Conv2dShape& d : kWinogradShapes) add(d);
  return cases;
}

std::vector<OpCase> conv2d_cases() {
  std::vector<OpCase> cases;
  for (const Conv2dShape& d : kTestShapes) add_every_case(cases, d);
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
  for (const Unit unit : {Unit::tf32, Unit::bf16}) add_tensor_tests(cases, unit);
  for (const Conv2dShape& d : kBenchmarkShapes) {
    const bool cnn = d.h == 28 || d.h == 26;  // ResNet's have neither: batch norm follows
    for (const Unit unit : {Unit::simt, Unit::tf32, Unit::bf16}) {
      for (OpCase& op :
           std::vector<OpCase>{forward_case(d, {.bias = cnn, .relu = cnn, .unit = unit}),
                               backward_data_case(d, false, unit),
                               backward_weights_case(d, false, normal(), unit)}) {
        op.benchmark = true;
        if (unit == Unit::simt && goes_by_winograd(op, d)) expect_winograd(op, d);
        cases.push_back(std::move(op));
      }
    }
  }
  return cases;
}

}  // namespace flyball::testing

#include "kernels/gemm.h"

#include "tests/op_cases.h"
#include "tests/reference/gemm.h"

namespace flyball::testing {
namespace {

struct Sizes {
  int64_t m, n, k;
};

struct Options {
  bool transpose_a = false, transpose_b = false;
  bool bias = false, relu = false, accumulate = false;
};

std::string name_of(const Sizes& s, const Options& o) {
  return str(o.transpose_a ? "t" : "n", o.transpose_b ? "t" : "n", " ", s.m, "x", s.n, "x", s.k,
             o.bias ? " bias" : "", o.relu ? " relu" : "", o.accumulate ? " accumulate" : "");
}

OpCase gemm_case(const Sizes& s, const Options& o, const Values& values = normal()) {
  const Shape a = o.transpose_a ? Shape{s.k, s.m} : Shape{s.m, s.k};
  const Shape b = o.transpose_b ? Shape{s.n, s.k} : Shape{s.k, s.n};
  const bool lattice = values.kind == Values::Kind::integers;
  OpCase op{.operation = "gemm", .name = name_of(s, o)};
  op.operands = {{.name = "a", .shape = a, .values = values},
                 {.name = "b", .shape = b, .values = lattice ? values : normal()}};
  if (o.bias) {
    op.operands.push_back({.name = "bias",
                           .shape = {s.n},
                           .values = lattice ? Values{Values::Kind::halves, -2, 2} : normal()});
  }
  // k products and k - 1 additions each, then the bias or what was there.
  op.operands.push_back({.name = "c",
                         .shape = {s.m, s.n},
                         .role = o.accumulate ? Role::in_out : Role::output,
                         .tolerance = sum_of(s.k + 1)});
  set_kernel<cpu::gemm<float>, cpu::gemm<double>, reference::gemm, cuda::gemm<float>,
             cuda::gemm<double>>(op, [s, o](auto zero, const Operands& operands) {
    using T = decltype(zero);
    return Gemm<T>{.a = operands.get<T>("a"),
                   .b = operands.get<T>("b"),
                   .bias = operands.get<T>("bias"),
                   .c = operands.get<T>("c"),
                   .m = s.m,
                   .n = s.n,
                   .k = s.k,
                   .transpose_a = o.transpose_a,
                   .transpose_b = o.transpose_b,
                   .relu = o.relu,
                   .accumulate = o.accumulate};
  });
  const auto m = static_cast<double>(s.m), n = static_cast<double>(s.n),
             k = static_cast<double>(s.k);
  op.flops = 2 * m * n * k;
  op.bytes = 4 * (m * k + k * n + m * n * (o.accumulate ? 2 : 1) + (o.bias ? n : 0));
  return op;
}

// The operation whose forward pass is this gemm, if there is one.
void set_differentiable(OpCase& op, const Options& o) {
  if (o.accumulate || o.transpose_a) return;
  if (o.transpose_b) {
    op.differentiable = [o](const Context& context, const std::vector<Variable>& v) {
      return linear(context, v[0], v[1], o.bias ? v[2] : Variable(), o.relu);
    };
  } else if (!o.bias && !o.relu) {
    op.differentiable = [](const Context& context, const std::vector<Variable>& v) {
      return matmul(context, v[0], v[1]);
    };
  }
}

void add_tests(std::vector<OpCase>& cases) {
  const Sizes small[] = {{1, 1, 1},   {1, 33, 5},      {2, 3, 1},      {31, 32, 33}, {33, 33, 33},
                         {65, 1, 63}, {127, 129, 131}, {16, 17, 1025}, {3, 5, 0}};
  // Large enough to be cut along n, m and k.
  const Sizes cut[] = {{65, 517, 331}, {517, 65, 331}, {33, 65, 4099}};
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      for (const Sizes& s : small) {
        cases.push_back(gemm_case(s, {.transpose_a = a, .transpose_b = b}));
        if (s.m * s.n * s.k <= 40000) set_differentiable(cases.back(), {a, b});
      }
      for (const Sizes& s : {Sizes{33, 33, 33}, Sizes{127, 129, 131}}) {
        for (Options o : {Options{.bias = true}, Options{.bias = true, .relu = true},
                          Options{.relu = true}, Options{.accumulate = true}}) {
          o.transpose_a = a;
          o.transpose_b = b;
          cases.push_back(gemm_case(s, o));
          if (s.m == 33 && !o.relu) set_differentiable(cases.back(), o);
        }
      }
      for (const Sizes& s : cut) {
        cases.push_back(gemm_case(s, {.transpose_a = a, .transpose_b = b, .accumulate = true}));
        cases.push_back(
            gemm_case(s, {.transpose_a = a, .transpose_b = b, .bias = true, .relu = true}));
      }
      cases.push_back(
          gemm_case({33, 65, 257}, {.transpose_a = a, .transpose_b = b}, normal(1000, 1)));
      cases.back().name += " large mean";
    }
  }
  // Enough work for the largest tiles on CUDA: whole and odd sizes, deep and shallow.
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      for (const Sizes& s : {Sizes{129, 257, 1411}, Sizes{132, 260, 1412}}) {
        cases.push_back(
            gemm_case(s, {.transpose_a = a, .transpose_b = b, .bias = true, .relu = true}));
      }
    }
  }
  cases.push_back(gemm_case({1541, 1539, 19}, {.accumulate = true}));
  // Sums that keep away from the kink of the ReLU.
  const Options fused{.transpose_b = true, .bias = true, .relu = true};
  for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{5, 7, 3}, Sizes{17, 33, 31}}) {
    cases.push_back(gemm_case(s, fused, integers(-2, 3)));
    cases.back().name += " integers";
    set_differentiable(cases.back(), fused);
  }
}

void add_benchmarks(std::vector<OpCase>& cases) {
  const auto add = [&](const Sizes& s, const Options& o) {
    cases.push_back(gemm_case(s, o));
    cases.back().benchmark = true;
  };
  for (const int64_t size : {512, 1024, 2048}) add({size, size, size}, {});
  add({127, 129, 131}, {});
  // The fully-connected layers: forward, and the gradients of x and of the weights.
  for (const Sizes& s : {Sizes{64, 10, 512}, Sizes{512, 10, 512}, Sizes{64, 128, 9216},
                         Sizes{64, 10, 128}, Sizes{64, 256, 784}}) {
    add(s, {.transpose_b = true, .bias = true, .relu = s.n > 10});
    add({s.m, s.k, s.n}, {});
    add({s.n, s.k, s.m}, {.transpose_a = true});
  }
  add({16384, 512, 128}, {.transpose_b = true, .bias = true});
  add({16384, 1024, 256}, {.transpose_b = true, .bias = true});
  add({512, 128, 16384}, {.transpose_a = true});
}

}  // namespace

std::vector<OpCase> gemm_cases() {
  std::vector<OpCase> cases;
  add_tests(cases);
  add_benchmarks(cases);
  return cases;
}

}  // namespace flyball::testing

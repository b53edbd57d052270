#include "kernels/gemm.h"

#include "tests/op_cases.h"
#include "tests/reference/gemm.h"

namespace flyball::testing {
namespace {

struct Sizes {
  int64_t m, n, k;
};

// What multiplies: f32 and f64 arithmetic, or tensor cores, on f32 operands rounded to tf32 or on
// bf16 with a result in bf16 or f32.
enum class Unit { simt, tf32, bf16, bf16_to_f32 };

struct Options {
  bool transpose_a = false, transpose_b = false;
  bool bias = false, relu = false, accumulate = false;
  Unit unit = Unit::simt;
  int64_t offset = 0;  // elements by which all operands are moved off their alignment
};

std::string name_of(const Sizes& s, const Options& o) {
  const char* units[] = {"", "tf32 ", "bf16 ", "bf16 to f32 "};
  return str(units[static_cast<int>(o.unit)], o.transpose_a ? "t" : "n", o.transpose_b ? "t" : "n",
             " ", s.m, "x", s.n, "x", s.k, o.bias ? " bias" : "", o.relu ? " relu" : "",
             o.accumulate ? " accumulate" : "", o.offset > 0 ? " misaligned" : "");
}

// k products and k - 1 additions each, then the bias or what was there. Products of two bf16 or
// tf32 are exact in f32; a tensor core may truncate where it adds, which is two units of roundoff
// and does not average out.
Tolerance tolerance_of(const Sizes& s, Unit unit) {
  Tolerance tolerance = sum_of(s.k + 1);
  if (unit == Unit::tf32) tolerance = tf32_sum_of(s.k + 1);
  if (unit != Unit::simt) tolerance.kernel = 2 * static_cast<double>(s.k + 1);
  return tolerance;
}

template <class T>
T* moved(const Operands& operands, const char* name, int64_t offset) {
  T* data = operands.get<T>(name);
  return data == nullptr ? nullptr : data + offset;
}

OpCase gemm_case(const Sizes& s, const Options& o, const Values& values = normal()) {
  const auto shape = [&o](int64_t rows, int64_t columns) {
    return o.offset > 0 ? Shape{rows * columns + o.offset} : Shape{rows, columns};
  };
  const Shape a = o.transpose_a ? shape(s.k, s.m) : shape(s.m, s.k);
  const Shape b = o.transpose_b ? shape(s.n, s.k) : shape(s.k, s.n);
  const bool lattice = values.kind == Values::Kind::integers;
  OpCase op{.operation = "gemm", .name = name_of(s, o)};
  op.operands = {{.name = "a", .shape = a, .values = values},
                 {.name = "b", .shape = b, .values = lattice ? values : normal()}};
  if (o.bias) {
    op.operands.push_back({.name = "bias",
                           .shape = {s.n + o.offset},
                           .values = lattice ? Values{Values::Kind::halves, -2, 2} : normal(),
                           .element = Element::accumulator});
  }
  // Integers are exact on tensor cores as long as a bf16 result has 8 bits for them.
  const bool exact = lattice && o.unit != Unit::simt;
  op.operands.push_back({.name = "c",
                         .shape = shape(s.m, s.n),
                         .role = o.accumulate ? Role::in_out : Role::output,
                         .values = lattice ? values : normal(),
                         .tolerance = exact ? Tolerance{} : tolerance_of(s, o.unit),
                         .element = o.unit == Unit::bf16 ? Element::real : Element::accumulator});
  const auto make = [s, o]<class T, class Out>(T, Out, const Operands& operands) {
    return Gemm<T, Out>{.a = moved<T>(operands, "a", o.offset),
                        .b = moved<T>(operands, "b", o.offset),
                        .bias = moved<Accumulator<T>>(operands, "bias", o.offset),
                        .c = moved<Out>(operands, "c", o.offset),
                        .m = s.m,
                        .n = s.n,
                        .k = s.k,
                        .transpose_a = o.transpose_a,
                        .transpose_b = o.transpose_b,
                        .relu = o.relu,
                        .accumulate = o.accumulate,
                        .tf32 = o.unit == Unit::tf32};
  };
  const auto same = [make](auto zero, const Operands& operands) {
    return make(zero, zero, operands);
  };
  const auto widened = [make](auto zero, const Operands& operands) {
    return make(zero, Accumulator<decltype(zero)>{}, operands);
  };
  switch (o.unit) {
    case Unit::simt:
      set_kernel<cpu::gemm<float>, cpu::gemm<double>, reference::gemm, cuda::gemm<float>,
                 cuda::gemm<double>>(op, same);
      break;
    case Unit::tf32:
      set_kernel<nullptr, nullptr, reference::gemm, cuda::gemm<float>>(op, same);
      break;
    case Unit::bf16:
      set_kernel<nullptr, nullptr, reference::gemm, nullptr, nullptr, cuda::gemm<bf16>>(op, same);
      break;
    case Unit::bf16_to_f32:
      set_kernel<nullptr, nullptr, reference::gemm, nullptr, nullptr, cuda::gemm<bf16, float>>(
          op, widened);
      break;
  }
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

// Tensor cores: sizes on either side of 32, of the tiles and of 1024, in whole vectors and not.
void add_tensor_tests(std::vector<OpCase>& cases, Unit unit) {
  const Sizes sizes[] = {{1, 1, 1},       {2, 3, 1},       {3, 5, 0},      {31, 32, 33},
                         {33, 31, 32},    {64, 64, 64},    {63, 65, 95},   {72, 136, 200},
                         {127, 129, 131}, {128, 120, 128}, {16, 17, 1023}, {24, 40, 1032}};
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      Options o{.transpose_a = a, .transpose_b = b, .unit = unit};
      for (const Sizes& s : sizes) cases.push_back(gemm_case(s, o));
      // Exact: sums of at most 31 * 4 have at most 7 bits; the longer ones in f32, across splits.
      cases.push_back(gemm_case({65, 67, 31}, o, integers(-2, 3)));
      if (unit != Unit::bf16) {
        cases.push_back(gemm_case({137, 71, 1025}, o, integers(-2, 3)));
        cases.push_back(gemm_case({136, 72, 1032}, o, integers(-2, 3)));
      }
      o.offset = 1;
      cases.push_back(gemm_case({72, 64, 96}, o));
      o.offset = 0;
      for (Options e : {Options{.bias = true}, Options{.bias = true, .relu = true},
                        Options{.relu = true}, Options{.accumulate = true}}) {
        e.transpose_a = a;
        e.transpose_b = b;
        e.unit = unit;
        cases.push_back(gemm_case({33, 35, 37}, e));   // one part of k
        cases.push_back(gemm_case({40, 72, 520}, e));  // several
        cases.push_back(gemm_case({41, 71, 517}, e));
      }
      cases.push_back(gemm_case({33, 65, 257}, o, normal(1000, 1)));
      cases.back().name += " large mean";
      // Enough work for the larger tiles, 128 x 128 and 128 x 64.
      if (unit == Unit::bf16_to_f32) continue;  // the same kernels as bf16
      o.bias = o.relu = true;
      for (const Sizes& s : {Sizes{1541, 1539, 19}, Sizes{1544, 1536, 24}, Sizes{16899, 10, 23},
                             Sizes{16904, 40, 24}}) {
        cases.push_back(gemm_case(s, o));
      }
    }
  }
  // The same with splits.
  const int64_t k = unit == Unit::tf32 ? 2824 : 5640;
  cases.push_back(gemm_case({129, 257, k - 5}, {.accumulate = true, .unit = unit}));
  cases.push_back(gemm_case({136, 264, k}, {.bias = true, .relu = true, .unit = unit}));
}

void add_benchmarks(std::vector<OpCase>& cases) {
  const auto add = [&](const Sizes& s, Options o) {
    for (const Unit unit : {Unit::simt, Unit::tf32, Unit::bf16}) {
      o.unit = unit;
      cases.push_back(gemm_case(s, o));
      cases.back().benchmark = true;
    }
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
  for (const Unit unit : {Unit::tf32, Unit::bf16, Unit::bf16_to_f32}) {
    add_tensor_tests(cases, unit);
  }
  add_benchmarks(cases);
  return cases;
}

}  // namespace flyball::testing

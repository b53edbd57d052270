#include <bit>

#include "kernels/cpu/parallel.h"
#include "tests/broken_kernels.h"
#include "tests/gradient_check.h"
#include "tests/op_checks.h"
#include "tests/testing.h"

// Every check is shown to fail on something that is broken in the way it looks for, and to pass on
// the same thing unbroken.
using namespace flyball;
using namespace flyball::testing;

namespace {

using Inputs = std::vector<Variable>;

// Guards whatever the allocator: a write outside must be found here, not stop the program.
std::string check_guarded(const OpCase& op, DType real) {
  return check_kernel(stream(), op, real, {.guards = true});
}

void check_reported(const BrokenKernel& broken, DType real) {
  const std::string report = check_guarded(broken.op, real);
  CHECK_MESSAGE(contains(report, broken.fault), broken.op.title(), ", a kernel that ", broken.what,
                ": '", report, "'");
  CHECK(contains(report, broken.op.title()));
}

// One case a family, and an operand that its kernel writes.
struct Representative {
  const char* title;
  const char* output;
};
constexpr Representative kRepresentatives[] = {
    {"gemm nn 31x32x33", "c"},
    {"conv2d forward 2x5x5x3 -> 4, 3x3 padding 1", "y"},
    {"pool2d max_forward 2x6x8x5 window 2 stride 2", "y"},
    {"elementwise add 1025", "y"},
    {"dropout 1025 p 0.25", "y"},
    {"softmax_cross_entropy 33x31", "dlogits"},
    {"reduce rows 63x33", "y"},
    {"batch_norm forward 65x33", "y"},
    {"copy transpose 31x33", "y"},
    {"augment 5x7x9x3", "y"},
    {"adam 74", "values"},
    {"sgd 74", "values"},
    {"embedding forward 33 of 40x32 padding 0", "y"},
    {"lstm forward 5x4x7 -> 1x31", "y"},
    {"sequence_pool forward mean 5x3x7", "y"},
};

size_t index_of(const OpCase& op, const char* name) {
  size_t i = 0;
  while (std::string(op.operands[i].name) != name) ++i;
  return i;
}

// Bytes of the operand and the size of its elements.
struct Extent {
  int64_t bytes, element;
};
template <class T>
Extent extent_of(const OpCase& op, const char* name, const Operands& operands) {
  const size_t i = index_of(op, name);
  const auto bytes = static_cast<int64_t>(operands.bytes(i).size());
  return {bytes, bytes / operands.count(i)};
}

void flip_lowest_bit(std::byte* data) { *data ^= std::byte{1}; }

// What can be wrong with any kernel.
std::vector<BrokenKernel> generally_broken(const Representative& r) {
  const OpCase sound = find_case(r.title);
  const char* name = r.output;
  const auto at_end = [=](auto zero, const Operands& o, int64_t back) {
    const Extent extent = extent_of<decltype(zero)>(sound, name, o);
    return o.get<std::byte>(name) + extent.bytes - back * extent.element;
  };
  std::vector<BrokenKernel> all;
  all.push_back({"writes past the end",
                 run_then(r.title, [=](auto zero, const Operands& o) { *at_end(zero, o, 0) = {}; }),
                 "guard: wrote outside"});
  all.push_back(
      {"writes before the beginning",
       run_then(r.title, [=](auto, const Operands& o) { o.get<std::byte>(name)[-1] = {}; }),
       "guard: wrote outside"});
  all.push_back({"changes an input",
                 run_then(r.title,
                          [=](auto, const Operands& o) {
                            for (const Operand& operand : sound.operands) {
                              if (operand.role != Role::input) continue;
                              return flip_lowest_bit(o.get<std::byte>(operand.name));
                            }
                          }),
                 "input: changed"});
  OpCase short_by_one = sound;
  short_by_one.prepare = [=](const Operands& o) -> Launch {
    return [=, &o, kernel = sound.prepare(o)](const Stream& on) {
      std::byte* last = at_end(0.0, o, 1);
      const std::vector<std::byte> before(last, at_end(0.0, o, 0));
      kernel(on);
      std::copy(before.begin(), before.end(), last);
    };
  };
  all.push_back({"does not reach the last element", short_by_one, str("result: ", name)});
  all.push_back({"is off by one part in 500",
                 run_then(r.title,
                          [=](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            const bool is_f32 =
                                sound.operands[index_of(sound, name)].element == Element::f32;
                            if (is_f32) {
                              *reinterpret_cast<float*>(at_end(zero, o, 1)) += 0.002F;
                            } else {
                              *reinterpret_cast<T*>(at_end(zero, o, 1)) += static_cast<T>(0.002);
                            }
                          }),
                 str("result: ", name)});
  all.push_back({"gives other bits the second time",
                 run_then(r.title,
                          [=, runs = std::make_shared<int>(0)](auto zero, const Operands& o) {
                            if (++*runs % 2 == 0) flip_lowest_bit(at_end(zero, o, 1));
                          }),
                 "second run: "});
  all.push_back({"depends on the number of threads",
                 run_then(r.title,
                          [=](auto zero, const Operands& o) {
                            if (cpu::threads() > 1) flip_lowest_bit(at_end(zero, o, 1));
                          }),
                 "two threads: "});
  all.push_back({"throws",
                 run_then(r.title, [](auto, const Operands&) { throw Error("as planned"); }),
                 "throws as planned"});
  return all;
}

}  // namespace

TEST_CASE("checks: a result in bf16 may be rounded once, to the nearest, and no worse") {
  // On the CPU, by a sum that rounds as it is told.
  const auto rounded_by = [](bf16 (*round)(float)) {
    OpCase op = find_case("elementwise add 1025");
    op.prepare = [round](const Operands& o) -> Launch {
      return [round, &o](const Stream&) {
        const bf16 *a = o.get<bf16>("a"), *b = o.get<bf16>("b");
        for (int64_t i = 0; i < o.count(0); ++i) {
          o.get<bf16>("y")[i] = round(to_float(a[i]) + to_float(b[i]));
        }
      };
    };
    return check_kernel(stream(), op, DType::bf16);
  };
  CHECK(rounded_by(to_bf16) == "");
  const auto truncate = [](float x) {
    return bf16{static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16)};
  };
  CHECK(contains(rounded_by(truncate), "result: y["));
  CHECK(contains(rounded_by([](float x) { return to_bf16(1.004F * x); }), "result: y["));
}

TEST_CASE("checks: faults that any kernel can have are reported in every family") {
  for (const Representative& r : kRepresentatives) {
    CHECK(check_guarded(find_case(r.title), DType::f32) == "");
    for (const BrokenKernel& broken : generally_broken(r)) check_reported(broken, DType::f32);
  }
}

TEST_CASE("checks: a broken kernel of each operation is reported") {
  int count = 0;
  for (const BrokenKernel& broken : broken_kernels()) {
    for (const DType real : {DType::f32, DType::f64}) {
      // A sum in f32 of f64 inputs, and everything else, shows in both dtypes.
      if (real == DType::f32 || broken.op.has_real()) check_reported(broken, real);
    }
    CHECK(check_guarded(find_case(broken.op.title()), DType::f32) == "");
    ++count;
  }
  MESSAGE(count, " broken kernels, and ",
          std::size(kRepresentatives) * generally_broken(kRepresentatives[0]).size(),
          " with general faults");
}

namespace {

// y = forward(x), and a backward pass of its own: backward(dy, dx) writes dx, element by element.
template <class Backward>
Variable with_backward(const Tensor& y, std::initializer_list<const Variable*> inputs, size_t input,
                       Backward backward) {
  return Variable::result(y, "broken", inputs, [=](Gradients& gradients) {
    if (!gradients.wants(input)) return;
    const Tensor dy = gradients.dy();
    GradientTarget target = gradients.target(input);
    backward(dy, target);
  });
}

// dx (+)= factor(i) * dy, for a result of x's shape.
template <class Factor>
Variable pointwise(const Tensor& y, const Variable& x, Factor factor, bool may_accumulate = true) {
  return with_backward(y, {&x}, 0, [=](const Tensor& dy, GradientTarget& target) {
    double* dx = target.tensor.mutable_data<double>();
    for (int64_t i = 0; i < dy.count(); ++i) {
      const double before = target.accumulate && may_accumulate ? dx[i] : 0;
      dx[i] = before + factor(i) * dy.data<double>()[i];
    }
  });
}

void check_gradient_reported(const char* what, const GradientCase& broken, const char* fault) {
  const std::string report = check_gradient(stream(), broken, 1);
  CHECK_MESSAGE(contains(report, fault), what, ": '", report, "'");
}

}  // namespace

TEST_CASE("checks: wrong gradients are reported") {
  const Tensor x = normal_tensor({33}, 1), square = normal_tensor({5, 5}, 2);
  const Tensor labels = labels_of({0, 3, 2, 1, 4});
  const auto doubled = [](const Context& context, const Variable& v) {
    return scale(context, v.detach(), 2).value();
  };
  const auto scaled_by = [&](double factor) {
    return GradientCase{"2 x", {x}, [=](const Context& context, const Inputs& v) {
                          return pointwise(doubled(context, v[0]), v[0],
                                           [=](int64_t) { return factor; });
                        }};
  };
  CHECK(check_gradient(stream(), scaled_by(2), 1) == "");
  check_gradient_reported("the wrong sign", scaled_by(-2), "gradient: of input 0");
  check_gradient_reported("the wrong factor", scaled_by(1), "gradient: of input 0");
  check_gradient_reported("off by one part in 10^5", scaled_by(2.00002), "gradient: of input 0");
  check_gradient_reported("a zero", scaled_by(0), "gradient: of input 0");

  check_gradient_reported("the last element is wrong",
                          {"2 x",
                           {x},
                           [=](const Context& context, const Inputs& v) {
                             return pointwise(doubled(context, v[0]), v[0],
                                              [](int64_t i) { return i == 32 ? 0.0 : 2.0; });
                           }},
                          "gradient: of input 0 [32]");
  check_gradient_reported("overwrites instead of accumulating",
                          {"2 x",
                           {x},
                           [=](const Context& context, const Inputs& v) {
                             return pointwise(
                                 doubled(context, v[0]), v[0], [](int64_t) { return 2.0; }, false);
                           }},
                          "accumulate: after two passes");
  check_gradient_reported("no gradient at all",
                          {"2 x",
                           {x},
                           [=](const Context& context, const Inputs& v) {
                             return Variable::result(doubled(context, v[0]), "broken", {&v[0]},
                                                     [](Gradients&) {});
                           }},
                          "input 0 has no gradient");
  check_gradient_reported("ignores the mask of the ReLU",
                          {"relu",
                           {x},
                           [](const Context& context, const Inputs& v) {
                             return pointwise(relu(context, v[0].detach()).value(), v[0],
                                              [](int64_t) { return 1.0; });
                           }},
                          "gradient: of input 0");
  check_gradient_reported("draws another mask in the backward pass",
                          {"dropout",
                           {x},
                           [](const Context& context, const Inputs& v) {
                             const Tensor y = dropout(context, v[0].detach(), 0.5, 1).value();
                             Tensor ones = Tensor::empty(stream(), {33}, DType::f64);
                             ones.fill(stream(), 1);
                             const Tensor mask = dropout(context, Variable(ones), 0.5, 2).value();
                             return pointwise(y, v[0],
                                              [mask](int64_t i) { return mask.data<double>()[i]; });
                           }},
                          "gradient: of input 0");
  check_gradient_reported(
      "multiplies by the matrix instead of its transpose",
      {"matmul",
       {square, normal_tensor({5, 5}, 3)},
       [](const Context& context, const Inputs& v) {
         const Tensor b = v[1].value();
         const Variable by_b = matmul(context, v[0], v[1]);
         const Variable wrong = matmul(context, v[0], transpose(context, v[1]));
         // The value of one and the gradient of the other.
         return add(
             context, wrong,
             Variable(add(context, by_b.detach(), scale(context, wrong.detach(), -1)).value()));
       }},
      "gradient: of input 0");
  const auto loss_case = [&](double forward, double backward) {
    return GradientCase{
        "loss", {square}, [=](const Context& context, const Inputs& v) {
          const Variable y = softmax_cross_entropy(context, v[0].detach(), labels, forward).loss;
          const Variable z = softmax_cross_entropy(context, v[0], labels, backward).loss;
          return add(context, z, Variable(add(context, y, scale(context, z.detach(), -1)).value()));
        }};
  };
  CHECK(check_gradient(stream(), loss_case(0.1, 0.1), 1) == "");
  check_gradient_reported("forgets the label smoothing", loss_case(0.1, 0), "gradient: of input 0");
}

TEST_CASE("checks: gradients that hang on what else is wanted are reported") {
  const GradientCase product{
      "product",
      {normal_tensor({33}, 1), normal_tensor({33}, 2)},
      [](const Context& context, const Inputs& v) {
        const Tensor y = multiply(context, v[0].detach(), v[1].detach()).value();
        return Variable::result(y, "broken", {&v[0], &v[1]},
                                [a = v[0].value(), b = v[1].value()](Gradients& gradients) {
                                  for (const size_t input : {size_t{0}, size_t{1}}) {
                                    if (!gradients.wants(input)) continue;
                                    // Wrong where only the second input wants a gradient.
                                    const double factor = gradients.wants(0) ? 1 : 2;
                                    GradientTarget target = gradients.target(input);
                                    double* to = target.tensor.mutable_data<double>();
                                    const double* other = (input == 0 ? b : a).data<double>();
                                    for (int64_t i = 0; i < 33; ++i) {
                                      to[i] = (target.accumulate ? to[i] : 0) +
                                              factor * other[i] * gradients.dy().data<double>()[i];
                                    }
                                  }
                                });
      }};
  check_gradient_reported("doubles where nothing else is wanted", product,
                          "alone: the gradient of input 1");
  const GradientCase loss{
      "sum", {normal_tensor({33}, 1)}, [](const Context& context, const Inputs& v) {
        const Tensor y = sum(context, v[0].detach()).value();
        return with_backward(y, {&v[0]}, 0, [](const Tensor&, auto& target) {
          double* dx = target.tensor.template mutable_data<double>();
          for (int64_t i = 0; i < 33; ++i) {
            dx[i] = (target.accumulate ? dx[i] : 0) + 1;
          }
        });
      }};
  check_gradient_reported("takes dy for 1", loss, "gradient: of input 0");
}

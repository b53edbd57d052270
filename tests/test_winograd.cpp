#include "kernels/cpu/winograd.h"

#include "kernels/cpu/backend.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/parallel.h"
#include "tests/broken_kernels.h"
#include "tests/op_checks.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

class WithWinograd {
 public:
  explicit WithWinograd(cpu::WinogradUse use)
      : use_before_(cpu::winograd_use()), set_before_(cpu::instruction_set()) {
    cpu::set_winograd_use(use);
  }
  ~WithWinograd() {
    cpu::set_winograd_use(use_before_);
    cpu::set_instruction_set(set_before_);
    cpu::set_threads(1);
  }
  WithWinograd(const WithWinograd&) = delete;
  WithWinograd& operator=(const WithWinograd&) = delete;

 private:
  cpu::WinogradUse use_before_;
  cpu::InstructionSet set_before_;
};

std::vector<cpu::InstructionSet> instruction_sets() {
  std::vector<cpu::InstructionSet> sets;
  for (const cpu::InstructionSet set :
       {cpu::InstructionSet::kPortable, cpu::InstructionSet::kAvx2, cpu::InstructionSet::kAvx512}) {
    if (cpu::has_instruction_set(set)) sets.push_back(set);
  }
  return sets;
}

// The bytes that the case writes.
std::vector<std::byte> result_of(const OpCase& op) {
  const Operands operands(stream(), op, DType::f32, 1, 0);
  op.prepare(operands)(stream());
  return operands.bytes(op.operands.size() - 1);
}

}  // namespace

TEST_CASE("winograd: every pass is within its derived tolerance, on every instruction set") {
  const WithWinograd always(cpu::WinogradUse::kAlways);
  const std::vector<OpCase> cases = winograd_cases();
  for (const cpu::InstructionSet set : instruction_sets()) {
    cpu::set_instruction_set(set);
    for (const OpCase& op : cases) CHECK(check_kernel(stream(), op, DType::f32) == "");
    MESSAGE(cases.size() << " cases on " << std::string(cpu::name_of(set)));
  }
}

TEST_CASE("winograd: of normal numbers, the largest error is 2e-5 of the largest result") {
  const WithWinograd always(cpu::WinogradUse::kAlways);
  double largest = 0;
  for (const OpCase& op : winograd_cases()) {
    const Expected expected = expected_results(op, DType::f32, 1, Oracle::f64_kernel);
    for (const cpu::InstructionSet set : instruction_sets()) {
      cpu::set_instruction_set(set);
      const Operands got(stream(), op, DType::f32, 1, 0);
      op.prepare(got)(stream());
      compare(op, expected, got, &largest);
    }
  }
  MESSAGE("largest error: " << largest);
  CHECK(largest < 2e-5);
}

TEST_CASE("winograd: the same bits for every number of threads") {
  const WithWinograd always(cpu::WinogradUse::kAlways);
  for (const cpu::InstructionSet set : instruction_sets()) {
    cpu::set_instruction_set(set);
    for (const OpCase& op : winograd_cases()) {
      if (!contains(op.name, "30x16x16x16") && !contains(op.name, "135 -> 72")) continue;
      cpu::set_threads(1);
      const std::vector<std::byte> one = result_of(op);
      for (const int threads : {2, 3, 7, 16}) {
        cpu::set_threads(threads);
        CHECK_MESSAGE(result_of(op) == one, op.title(), " on ", threads, " threads");
      }
    }
  }
}

TEST_CASE("winograd: NaN and infinity do not leave the tiles that see them") {
  const WithWinograd always(cpu::WinogradUse::kAlways);
  const Conv2dShape d{1, 12, 12, 16, 16, 3, 3, 1, 1};
  std::vector<float> x(static_cast<size_t>(d.n * d.h * d.w * d.c), 1);
  x[0] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> filters(static_cast<size_t>(d.k * 9 * d.c), 1);
  std::vector<float> y(static_cast<size_t>(d.n * d.p() * d.q() * d.k));
  cpu::conv2d_forward(Conv2dForward<float>{
      .x = x.data(), .filters = filters.data(), .y = y.data(), .shape = d, .relu = true});
  CHECK(std::isnan(y[0]));
  CHECK(std::isfinite(y[static_cast<size_t>(4 * d.k)]));          // the tile to the right
  CHECK(std::isfinite(y[static_cast<size_t>(4 * d.q() * d.k)]));  // and the one below
}

TEST_CASE("winograd: chosen for wide layers and whole tiles alone, and as told") {
  struct Case {
    Conv2dShape shape;
    bool forward, weights;
  };
  const Case cases[] = {
      {{64, 32, 32, 64, 64, 3, 3, 1, 1}, true, true},
      {{64, 32, 32, 15, 64, 3, 3, 1, 1}, false, false},  // narrow
      {{64, 32, 32, 64, 15, 3, 3, 1, 1}, false, false},
      {{64, 2, 2, 64, 64, 3, 3, 1, 1}, false, false},  // 4 of a tile's 16
      {{3, 4, 4, 64, 64, 3, 3, 1, 1}, false, false},   // 3 tiles
      {{7, 4, 4, 64, 64, 3, 3, 1, 1}, true, false},    // 112 pixels
      {{8, 4, 4, 64, 64, 3, 3, 1, 1}, true, true},
  };
  const Case impossible[] = {{{64, 32, 32, 64, 64, 3, 3, 2, 1}, false, false},
                             {{64, 32, 32, 64, 64, 1, 1, 1, 0}, false, false},
                             {{64, 32, 32, 64, 64, 5, 5, 1, 2}, false, false},
                             {{64, 32, 32, 64, 64, 3, 3, 1, 3}, false, false}};
  const auto forward = [](const Conv2dShape& d) {
    return cpu::winograd::applies(Conv2dForward<float>{.shape = d});
  };
  const auto data = [](const Conv2dShape& d) {
    return cpu::winograd::applies(Conv2dBackwardData<float>{.shape = d});
  };
  const auto weights = [](const Conv2dShape& d) {
    return cpu::winograd::applies(Conv2dBackwardWeights<float>{.shape = d});
  };
  const WithWinograd automatic(cpu::WinogradUse::kAuto);
  for (const Case& c : cases) {
    cpu::set_winograd_use(cpu::WinogradUse::kAuto);
    CHECK(forward(c.shape) == c.forward);
    CHECK(data(c.shape) == c.forward);
    CHECK(weights(c.shape) == c.weights);
    cpu::set_winograd_use(cpu::WinogradUse::kAlways);
    CHECK((forward(c.shape) && data(c.shape) && weights(c.shape)));
    cpu::set_winograd_use(cpu::WinogradUse::kOff);
    CHECK_FALSE((forward(c.shape) || data(c.shape) || weights(c.shape)));
  }
  cpu::set_winograd_use(cpu::WinogradUse::kAlways);
  for (const Case& c : impossible) {
    CHECK_FALSE((forward(c.shape) || data(c.shape) || weights(c.shape)));
  }
}

TEST_CASE("checks: a broken Winograd kernel is reported") {
  for (const OpCase& op : unbroken_winograd()) {
    CHECK(check_kernel(stream(), op, DType::f32, {.guards = true}) == "");
  }
  for (const BrokenKernel& broken : broken_winograd()) {
    const std::string report = check_kernel(stream(), broken.op, DType::f32, {.guards = true});
    CHECK_MESSAGE(contains(report, broken.fault), broken.op.title(), ", a kernel that ",
                  broken.what, ": '", report, "'");
  }
}

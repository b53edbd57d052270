#include "tests/op_checks.h"

#include <cmath>

#include "framework/allocator.h"
#include "kernels/cpu/parallel.h"

namespace flyball::testing {
namespace {

constexpr int64_t kGuardBytes = 256;

bool is_written(const Operand& operand) {
  return operand.role == Role::output || operand.role == Role::in_out;
}

// Of the arithmetic behind an operand in dtype `real`: bf16 is computed in f32. Integers are
// compared exactly.
double unit_roundoff(const Operand& operand, DType real) {
  switch (operand.element) {
    case Element::real:
    case Element::accumulator:
    case Element::record:
      return real == DType::f64 ? 0x1p-53 : 0x1p-24;
    case Element::f32:
    case Element::bf16:
      return 0x1p-24;
    default:
      return 0x1p-53;
  }
}

// |got - want| may be scale * magnitude + want_part * |want|, as Tolerance says.
struct Bound {
  double scale = 0, want_part = 0;
};

Bound bound_of(const Operand& operand, DType real) {
  constexpr double kBf16Roundoff = 0x1p-8;
  const Tolerance& t = operand.tolerance;
  if (t.exact()) return {};
  const double error = t.kernel * unit_roundoff(operand, real) + t.terms + t.oracle * 0x1p-53;
  const bool is_bf16 =
      operand.element == Element::bf16 || (operand.element == Element::real && real == DType::bf16);
  if (!is_bf16) return {.scale = error};
  return {.scale = (1 + kBf16Roundoff) * error, .want_part = kBf16Roundoff};
}

bool needs_magnitude(const OpCase& op) {
  return std::any_of(op.operands.begin(), op.operands.end(),
                     [](const Operand& operand) { return !operand.tolerance.exact(); });
}

// Of the operands that are compared; the others have none.
Numbers results_of(const OpCase& op, const Operands& operands) {
  Numbers numbers(operands.size());
  for (size_t i = 0; i < operands.size(); ++i) {
    if (is_written(op.operands[i])) numbers[i] = operands.numbers(i);
  }
  return numbers;
}

bool within(double got, double want, double allowed) {
  if (std::isnan(want)) return std::isnan(got);
  if (got == want) return true;
  return std::abs(got - want) <= allowed;  // false for NaN
}

// A run that may throw.
std::string launch(const Stream& stream, const OpCase& op, const Operands& operands) {
  try {
    op.prepare(operands)(stream);
  } catch (const std::exception& error) {
    return str("throws ", error.what());
  }
  return "";
}

std::string check_surroundings(const OpCase& op, const Operands& before, const Operands& after) {
  for (size_t i = 0; i < after.size(); ++i) {
    const Operand& operand = op.operands[i];
    if (!after.guards_intact(i)) return str("guard: wrote outside ", operand.name);
    if (operand.role == Role::input && before.bytes(i) != after.bytes(i)) {
      return str("input: changed ", operand.name);
    }
  }
  return "";
}

std::string same_bits(const OpCase& op, const Operands& first, const Operands& second) {
  for (size_t i = 0; i < first.size(); ++i) {
    if (is_written(op.operands[i]) && first.bytes(i) != second.bytes(i)) {
      return str(op.operands[i].name, " has other bits");
    }
  }
  return "";
}

class WithThreads {
 public:
  explicit WithThreads(int count) : before_(cpu::threads()) { cpu::set_threads(count); }
  ~WithThreads() { cpu::set_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

std::string find_fault(const Stream& stream, const OpCase& op, DType real,
                       const CheckOptions& options) {
  const WithThreads one(1);
  const auto fresh = [&] {
    return Operands(stream, op, real, options.seed, options.guards ? kGuardBytes : 0);
  };
  const Operands before = fresh(), got = fresh();
  std::string fault = launch(stream, op, got);
  if (fault.empty()) fault = check_surroundings(op, before, got);
  if (fault.empty()) {
    fault = compare(op, expected_results(op, real, options.seed, Oracle::reference), got);
  }
  if (!fault.empty() || !options.repeat) return fault;
  const Operands again = fresh(), parallel = fresh();
  fault = launch(stream, op, again);
  if (fault.empty()) fault = same_bits(op, got, again);
  if (!fault.empty()) return "second run: " + fault;
  {
    const WithThreads two(2);
    fault = launch(stream, op, parallel);
  }
  if (fault.empty()) fault = check_surroundings(op, before, parallel);
  if (fault.empty()) fault = same_bits(op, got, parallel);
  return fault.empty() ? "" : "two threads: " + fault;
}

}  // namespace

namespace {
const Stream& host_stream() {
  static const Stream stream;
  return stream;
}
}  // namespace

Expected expected_results(const OpCase& op, DType real, uint64_t seed, Oracle oracle) {
  return expected_results(op, real, seed, [&](const Operands& operands) {
    if (oracle == Oracle::reference) {
      op.reference(operands);
    } else {
      op.prepare(operands)(host_stream());
    }
  });
}

Expected expected_results(const OpCase& op, DType real, uint64_t seed,
                          const std::function<void(const Operands&)>& solve) {
  const Stream& stream = host_stream();
  const Operands wanted(stream, op, DType::f64, seed, 0, real);
  solve(wanted);
  Expected expected{.values = results_of(op, wanted), .magnitude = {}};
  if (op.magnitude) {
    const Operands before(stream, op, DType::f64, seed, 0, real);
    expected.magnitude = op.magnitude(before, wanted);
  } else if (needs_magnitude(op)) {
    Operands terms(stream, op, DType::f64, seed, 0, real);
    terms.make_absolute();
    solve(terms);
    expected.magnitude = results_of(op, terms);
  }
  return expected;
}

std::string compare(const OpCase& op, const Expected& expected, const Operands& got,
                    double* largest_error) {
  std::string fault;
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const Operand& operand = op.operands[i];
    if (!is_written(operand)) continue;
    const Bound bound = bound_of(operand, got.real());
    const std::vector<double>& want = expected.values[i];
    const std::vector<double> numbers = got.numbers(i);
    double largest = 0, error = 0;
    for (size_t j = 0; j < numbers.size(); ++j) {
      const double allowed = bound.scale == 0 ? 0
                                              : bound.scale * expected.magnitude[i][j] +
                                                    bound.want_part * std::abs(want[j]);
      if (fault.empty() && !within(numbers[j], want[j], allowed)) {
        fault = str("result: ", operand.name, "[", j, "] is ", numbers[j], ", expected ", want[j],
                    " within ", allowed);
      }
      if (!std::isfinite(want[j])) continue;
      largest = std::max(largest, std::abs(want[j]));
      error = std::max(error, std::abs(numbers[j] - want[j]));
    }
    if (largest_error != nullptr && operand.element != Element::record) {
      *largest_error = std::max(*largest_error, largest == 0 ? error : error / largest);
    }
  }
  return fault;
}

CheckOptions default_check_options() { return {.guards = !allocator_is_passthrough()}; }

std::string check_kernel(const Stream& stream, const OpCase& op, DType real,
                         const CheckOptions& options) {
  const std::string fault = find_fault(stream, op, real, options);
  if (fault.empty()) return "";
  return str(op.title(), ", ", name_of(real), ", seed ", options.seed, ": ", fault);
}

}  // namespace flyball::testing

#include "bench/kernel_bench.h"

namespace flyball::bench {

using namespace flyball::testing;

namespace {

// The case with the same operands in f32 arithmetic, which has an f64 kernel; null where none has.
const OpCase* f64_case(const std::vector<OpCase>& cases, const OpCase& op) {
  if (op.runs(DType::f64, Device::Kind::cpu)) return &op;
  std::string name = op.name;
  for (const char* unit : {"tf32 ", "bf16 "}) {
    if (name.starts_with(unit)) name.erase(0, std::string(unit).size());
  }
  const auto found = std::find_if(cases.begin(), cases.end(), [&](const OpCase& other) {
    return other.operation == op.operation && other.name == name &&
           other.runs(DType::f64, Device::Kind::cpu);
  });
  return found == cases.end() ? nullptr : &*found;
}

}  // namespace

const OpCase& checked_case(const std::vector<OpCase>& cases, const OpCase& op) {
  if (op.checked_as.empty()) return op;
  for (const OpCase& other : cases) {
    if (other.operation == op.operation && other.name == op.checked_as) return other;
  }
  throw Error(str(op.title(), ": no case is called ", op.checked_as));
}

std::string check_case(const Stream& stream, const std::vector<OpCase>& cases, const OpCase& op,
                       DType real, double& relative_error) {
  const OpCase& checked = checked_case(cases, op);
  const OpCase* oracle = f64_case(cases, checked);
  const Stream host;
  const Expected expected = expected_results(checked, real, kSeed, [&](const Operands& operands) {
    if (oracle == nullptr) return checked.reference(operands);
    oracle->prepare(operands)(host);
  });
  const Operands got(stream, checked, real, kSeed, 0);
  checked.prepare(got)(stream);
  return compare(checked, expected, got, &relative_error);
}

double difference(const OpCase& op, const Operands& wanted, const Operands& got,
                  const std::vector<std::string>& without) {
  double worst = 0;
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const Operand& operand = op.operands[i];
    if (operand.role != Role::output && operand.role != Role::in_out) continue;
    if (std::find(without.begin(), without.end(), operand.name) != without.end()) continue;
    const std::vector<double> a = wanted.numbers(i), b = got.numbers(i);
    double largest = 0, off = 0;
    for (size_t j = 0; j < a.size(); ++j) {
      largest = std::max(largest, std::abs(a[j]));
      if (!(std::abs(a[j] - b[j]) <= off)) off = std::abs(a[j] - b[j]);  // NaN stays
    }
    if (!(off <= worst * largest)) worst = off / largest;
  }
  return worst;
}

}  // namespace flyball::bench

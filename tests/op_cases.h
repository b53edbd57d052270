#pragma once

#include <algorithm>
#include <any>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "framework/ops.h"
#include "framework/run.h"
#include "framework/tensor.h"
#include "kernels/bf16.h"

// One table of cases drives the kernel tests, the gradient checks and bench_kernels.
namespace flyball::testing {

// What an operand is made of. `real` is f32, f64 or bf16, whichever the case is run in; an
// accumulator is what sums of reals are kept in: f32 in a run in bf16, real in the others. A record
// is a struct that lives in device memory.
enum class Element : uint8_t { real, accumulator, f32, f64, bf16, i32, i64, u8, record };
enum class Role : uint8_t { input, output, in_out, scratch };

// What an operand holds before the kernel runs. Reals and accumulators are rounded to f32, so that
// f32 and f64 start from the same numbers; in a run in bf16, and in the reference of one, reals are
// rounded on to bf16.
struct Values {
  enum class Kind : uint8_t {
    normal,               // mean a, deviation b
    normal_or_nonfinite,  // the same, but every 97th is NaN or infinite
    integers,             // uniform in [a, b)
    halves,          // an integer in [a, b) + 1/2: a sum of integers and one of these is never 0
    away_from_zero,  // 1/2 <= |x|
    distinct         // no two within 0.1, none within 0.05 of 0
  };
  Kind kind = Kind::normal;
  double a = 0, b = 1;
};
inline Values normal(double mean = 0, double deviation = 1) {
  return {Values::Kind::normal, mean, deviation};
}
inline Values integers(double begin, double end) { return {Values::Kind::integers, begin, end}; }
inline Values below(int64_t count) { return integers(0, static_cast<double>(count)); }
inline Values constant(double value) { return {Values::Kind::normal, value, 0}; }

// |got - want| <= E = (kernel * u + terms + oracle * 2^-53) * magnitude, with u = 2^-24 (f32) or
// 2^-53 (f64) the unit roundoff of the arithmetic. `kernel` and `oracle` bound the growth of
// rounding errors in the kernel under test and in the double reference; `terms` bounds the relative
// error of each term of a sum whose operands the kernel itself rounds. All 0: the same bits.
// A bf16 result is computed in f32 and rounded once, by at most 2^-8 (8 significant bits) of a
// number within E of `want`: it is within (1 + 2^-8) E + 2^-8 |want|.
struct Tolerance {
  double kernel = 0, oracle = 0, terms = 0;
  bool exact() const { return kernel == 0 && oracle == 0 && terms == 0; }
};

// Growth of the error of a result behind `count` roundings, as a multiple of u * sum of |terms|:
// count in the worst case (Higham 2002, eq. 3.4), and below 8 sqrt(count) with a probability of
// failure of 2 exp(-32) where roundings are independent (Higham & Mary 2019, SIAM J. Sci. Comput.
// 41, Theorem 2.4 with lambda = 8).
inline double roundings(int64_t count) {
  const auto n = static_cast<double>(count);
  return std::min(n, 8 * std::sqrt(n));
}
// Of a sum of products with `count` roundings on the way of each term, in any order.
inline Tolerance sum_of(int64_t count) { return {roundings(count), roundings(count)}; }
// The same where both factors are rounded to the 11 significant bits of tf32 first: a product is
// then off by at most 2 * 2^-11 + 2^-22.
inline Tolerance tf32_sum_of(int64_t count) {
  return {.kernel = roundings(count), .oracle = roundings(count), .terms = 0x1p-10 + 0x1p-22};
}

struct Operand {
  const char* name;
  Shape shape;
  Role role = Role::input;
  Values values{};  // of inputs and in_outs; outputs and scratch are poisoned
  Tolerance tolerance{};
  Element element = Element::real;
  std::vector<std::byte> record{};                             // the records' bytes before the run
  std::vector<double> (*numbers)(const std::byte*) = nullptr;  // their members that are compared
};

// Of the operand in a run in `real`, without guards.
int64_t operand_bytes(const Operand& operand, DType real);

class Operands;
struct OpCase;

using Launch = std::function<void(const Stream&)>;
// A number for each number of each operand.
using Numbers = std::vector<std::vector<double>>;

// A dtype and a kind of device that a case has a kernel for.
struct Version {
  DType real;
  Device::Kind device;
};

struct OpCase {
  std::string operation;  // the family: "gemm"
  std::string name;       // "nt 127x129x131 bias relu"
  std::vector<Operand> operands{};
  double bytes = 0;  // read and written once each, f32
  double flops = 0;
  bool benchmark = false;    // run by the bench alone; the others by the tests alone
  std::string checked_as{};  // bench: the smaller case that is checked in place of this one

  std::vector<Version> versions{};
  // Binds the kernel to operands in device memory; what it returns enqueues the kernel.
  std::function<Launch(const Operands&)> prepare{};
  // The kernel's argument struct in f32 or bf16, for peers that take the same.
  std::function<std::any(const Operands&)> arguments{};
  // The naive double reference on f64 operands in host memory.
  std::function<void(const Operands&)> reference{};
  // What errors are relative to. Empty: the sum of |terms|, which the reference gives for the
  // absolute values of all real operands (arguments such as alpha are then not negative).
  std::function<Numbers(const Operands& before, const Operands& wanted)> magnitude{};
  // The differentiable operation that runs this kernel forward, on the real and i32 inputs in
  // order; set where the values keep away from kinks.
  std::function<Variable(const Context&, const std::vector<Variable>&)> differentiable{};

  bool has_real() const;
  // Whether there is a kernel, and one that another dtype's run does not test already.
  bool runs(DType real, Device::Kind device) const;
  std::string title() const { return operation + " " + name; }
};

// The operands of one run in device memory, with `guard_bytes` of 0xFF on either side of each.
// Their numbers are those of a run in `numbers_of`, by default `real`.
class Operands {
 public:
  Operands(const Stream& stream, const OpCase& op, DType real, uint64_t seed, int64_t guard_bytes,
           std::optional<DType> numbers_of = std::nullopt);

  DType real() const { return real_; }
  size_t size() const { return memory_.size(); }
  // The operand's memory, or null where the case has none of that name.
  template <class T>
  T* get(const char* name) const {
    return reinterpret_cast<T*>(find(name));
  }
  int64_t count(size_t i) const;                 // elements
  std::vector<std::byte> bytes(size_t i) const;  // of the operand alone
  std::vector<double> numbers(size_t i) const;
  bool guards_intact(size_t i) const;
  void make_absolute();    // real operands in host memory
  Operands clone() const;  // in memory of their own

 private:
  std::byte* find(const char* name) const;
  std::byte* data(size_t i) const;

  const Stream& stream_;
  const std::vector<Operand>& operands_;
  DType real_;
  int64_t guard_bytes_;
  std::vector<Tensor> memory_;
};

template <auto function>
inline constexpr bool kExists = !std::is_null_pointer_v<decltype(function)>;

// Sets how a case runs: make(T{}, operands) gives the kernel's argument struct. A null function:
// the case is not run in that dtype on that device. bf16 is for CUDA alone; make(bf16{}, operands)
// has to compile only where there is a function for it.
template <auto cpu_f32, auto cpu_f64, auto oracle, auto cuda_f32 = nullptr, auto cuda_f64 = nullptr,
          auto cuda_bf16 = nullptr, class MakeArguments>
void set_kernel(OpCase& op, MakeArguments make) {
  op.versions.clear();
  const auto add = [&op](bool exists, DType real, Device::Kind device) {
    if (exists) op.versions.push_back({real, device});
  };
  add(kExists<cpu_f32>, DType::f32, Device::Kind::cpu);
  add(kExists<cpu_f64>, DType::f64, Device::Kind::cpu);
  add(kExists<cuda_f32>, DType::f32, Device::Kind::cuda);
  add(kExists<cuda_f64>, DType::f64, Device::Kind::cuda);
  add(kExists<cuda_bf16>, DType::bf16, Device::Kind::cuda);
  op.prepare = [make](const Operands& operands) -> Launch {
    if constexpr (kExists<cuda_bf16>) {
      if (operands.real() == DType::bf16) {
        return [arguments = make(bf16{}, operands)](const Stream& stream) {
          run<nullptr, cuda_bf16>(stream, arguments);
        };
      }
    }
    if (operands.real() == DType::f32) {
      return [arguments = make(float{}, operands)](const Stream& stream) {
        run<cpu_f32, cuda_f32>(stream, arguments);
      };
    }
    return [arguments = make(double{}, operands)](const Stream& stream) {
      run<cpu_f64, cuda_f64>(stream, arguments);
    };
  };
  op.arguments = [make](const Operands& operands) -> std::any {
    if constexpr (kExists<cuda_bf16>) {
      if (operands.real() == DType::bf16) return make(bf16{}, operands);
    }
    return make(float{}, operands);
  };
  op.reference = [make](const Operands& operands) { oracle(make(double{}, operands)); };
}

// An operand of structs.
template <class Record>
Operand record_operand(const char* name, Role role, const std::vector<Record>& records,
                       std::vector<double> (*numbers)(const std::byte*) = nullptr) {
  const auto* bytes = reinterpret_cast<const std::byte*>(records.data());
  return {.name = name,
          .shape = {static_cast<int64_t>(records.size())},
          .role = role,
          .element = Element::record,
          .record = {bytes, bytes + records.size() * sizeof(Record)},
          .numbers = numbers};
}

std::vector<OpCase> gemm_cases();
std::vector<OpCase> conv2d_cases();
std::vector<OpCase> pool2d_cases();
std::vector<OpCase> elementwise_cases();
std::vector<OpCase> dropout_cases();
std::vector<OpCase> softmax_cross_entropy_cases();
std::vector<OpCase> reduce_cases();
std::vector<OpCase> copy_cases();
std::vector<OpCase> augment_cases();
std::vector<OpCase> batch_cases();
std::vector<OpCase> batch_norm_cases();
std::vector<OpCase> adam_cases();
std::vector<OpCase> sgd_cases();
std::vector<OpCase> embedding_cases();
std::vector<OpCase> lstm_cases();
std::vector<OpCase> sequence_pool_cases();

// 3x3 convolutions at stride 1 with the tolerances of Winograd's algorithm, for the CPU in f32.
std::vector<OpCase> winograd_cases();

// The whole table.
std::vector<OpCase> op_cases();

}  // namespace flyball::testing

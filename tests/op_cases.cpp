#include "tests/op_cases.h"

#include <cstring>
#include <limits>

#include "kernels/permutation.h"
#include "kernels/philox.h"

namespace flyball::testing {
namespace {

// Long operands repeat their first values; the period is a prime, so that it falls in step with no
// tile.
constexpr int64_t kPeriod = 65537;
constexpr unsigned char kPoison = 0x5A;  // of integers and records; reals are poisoned with NaN
constexpr int kGuard = 0xFF;             // NaN in every float type

double value_at(const Values& values, int64_t i, int64_t count, uint64_t seed) {
  const PhiloxWords words = philox_at(static_cast<uint64_t>(i), 0, 0, seed);
  const double uniform = uniform_open(words.word[0]);
  const double gauss =
      std::sqrt(-2 * std::log(uniform)) * std::cos(6.283185307179586 * uniform_open(words.word[1]));
  switch (values.kind) {
    case Values::Kind::normal:
      return values.a + values.b * gauss;
    case Values::Kind::normal_or_nonfinite: {
      constexpr double kInfinity = std::numeric_limits<double>::infinity();
      const double special[] = {std::numeric_limits<double>::quiet_NaN(), kInfinity, -kInfinity};
      return i % 97 == 5 ? special[i / 97 % 3] : values.a + values.b * gauss;
    }
    case Values::Kind::integers:
      return std::floor(values.a + uniform * (values.b - values.a));
    case Values::Kind::halves:
      return std::floor(values.a + uniform * (values.b - values.a)) + 0.5;
    case Values::Kind::away_from_zero:
      return gauss < 0 ? gauss - 0.5 : gauss + 0.5;
    case Values::Kind::distinct: {
      const auto place = static_cast<double>(permuted(i, count, seed, 0, 0));
      return 0.1 * (place - std::floor(0.5 * static_cast<double>(count)) + 0.5);
    }
  }
  return 0;
}

int64_t bytes_of(Element element, DType real) {
  switch (element) {
    case Element::real:
      return flyball::bytes_of(real);
    case Element::accumulator:
      return flyball::bytes_of(real == DType::bf16 ? DType::f32 : real);
    case Element::bf16:
      return 2;
    case Element::f32:
    case Element::i32:
      return 4;
    case Element::f64:
    case Element::i64:
      return 8;
    case Element::u8:
    case Element::record:
      return 1;
  }
  return 0;
}

Element resolved(Element element, DType real) {
  if (element != Element::real && element != Element::accumulator) return element;
  if (real == DType::bf16) return element == Element::real ? Element::bf16 : Element::f32;
  return real == DType::f32 ? Element::f32 : Element::f64;
}

// Calls function(T{}) with the type of a resolved element; records are bytes.
template <class Function>
void with_type(Element element, Function&& function) {
  switch (element) {
    case Element::real:
    case Element::accumulator:
    case Element::f64:
      return function(double{});
    case Element::f32:
      return function(float{});
    case Element::bf16:
      return function(bf16{});
    case Element::i32:
      return function(int32_t{});
    case Element::i64:
      return function(int64_t{});
    case Element::u8:
    case Element::record:
      return function(uint8_t{});
  }
}

template <class T>
T from_double(double value) {
  if constexpr (std::is_same_v<T, bf16>) {
    return to_bf16(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

template <class T>
double as_double(T value) {
  if constexpr (std::is_same_v<T, bf16>) {
    return static_cast<double>(to_float(value));
  } else {
    return static_cast<double>(value);
  }
}

// A value as an operand of this kind holds it in a run in `numbers_of`.
double rounded(double value, Element element, DType numbers_of) {
  if (element != Element::real && element != Element::accumulator) return value;
  const auto single = static_cast<float>(value);
  const bool halved = element == Element::real && numbers_of == DType::bf16;
  return static_cast<double>(halved ? to_float(to_bf16(single)) : single);
}

bool is_floating(Element element) {
  switch (element) {
    case Element::real:
    case Element::accumulator:
    case Element::f32:
    case Element::f64:
    case Element::bf16:
      return true;
    default:
      return false;
  }
}

std::vector<std::byte> first_bytes(const Operand& operand, DType real, DType numbers_of,
                                   uint64_t seed) {
  const bool poisoned = operand.role == Role::output || operand.role == Role::scratch;
  if (!poisoned && operand.element == Element::record) return operand.record;
  const auto poison = static_cast<std::byte>(is_floating(operand.element) ? kGuard : kPoison);
  std::vector<std::byte> bytes(static_cast<size_t>(operand_bytes(operand, real)), poison);
  if (poisoned) return bytes;
  const int64_t count = operand.shape.count();
  with_type(resolved(operand.element, real), [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < count; ++i) {
      T* to = reinterpret_cast<T*>(bytes.data()) + i;
      if (i >= kPeriod && operand.values.kind != Values::Kind::distinct) {
        *to = *(to - kPeriod);
        continue;
      }
      const double value = value_at(operand.values, i, count, seed);
      *to = from_double<T>(rounded(value, operand.element, numbers_of));
    }
  });
  return bytes;
}

}  // namespace

int64_t operand_bytes(const Operand& operand, DType real) {
  if (operand.element == Element::record) return static_cast<int64_t>(operand.record.size());
  return operand.shape.count() * bytes_of(operand.element, real);
}

bool OpCase::has_real() const {
  return std::any_of(operands.begin(), operands.end(),
                     [](const Operand& operand) { return operand.element == Element::real; });
}

bool OpCase::runs(DType real, Device::Kind device) const {
  if (real != DType::f32 && !has_real()) return false;  // the same as in f32
  return std::any_of(versions.begin(), versions.end(), [=](const Version& version) {
    return version.real == real && version.device == device;
  });
}

Operands::Operands(const Stream& stream, const OpCase& op, DType real, uint64_t seed,
                   int64_t guard_bytes, std::optional<DType> numbers_of)
    : stream_(stream), operands_(op.operands), real_(real), guard_bytes_(guard_bytes) {
  const std::vector<std::byte> guard(static_cast<size_t>(guard_bytes), std::byte{kGuard});
  for (size_t i = 0; i < operands_.size(); ++i) {
    const std::vector<std::byte> bytes =
        first_bytes(operands_[i], real, numbers_of.value_or(real), seed * 1000 + i);
    const auto count = static_cast<int64_t>(bytes.size());
    memory_.push_back(Tensor::empty(stream, {count + 2 * guard_bytes}, DType::u8));
    copy_to_device(stream, data(i) - guard_bytes, guard.data(), guard_bytes);
    copy_to_device(stream, data(i), bytes.data(), count);
    copy_to_device(stream, data(i) + count, guard.data(), guard_bytes);
  }
}

std::byte* Operands::data(size_t i) const {
  // Launches write through plain pointers: no tensor's write count is involved.
  return const_cast<std::byte*>(static_cast<const std::byte*>(memory_[i].raw())) + guard_bytes_;
}

std::byte* Operands::find(const char* name) const {
  for (size_t i = 0; i < operands_.size(); ++i) {
    if (std::strcmp(operands_[i].name, name) == 0) return data(i);
  }
  return nullptr;
}

int64_t Operands::count(size_t i) const { return operands_[i].shape.count(); }

std::vector<std::byte> Operands::bytes(size_t i) const {
  std::vector<std::byte> bytes(static_cast<size_t>(operand_bytes(operands_[i], real_)));
  copy_to_host(stream_, bytes.data(), data(i), static_cast<int64_t>(bytes.size()));
  return bytes;
}

std::vector<double> Operands::numbers(size_t i) const {
  const std::vector<std::byte> raw = bytes(i);
  if (operands_[i].numbers != nullptr) return operands_[i].numbers(raw.data());
  std::vector<double> numbers;
  if (operands_[i].element == Element::record) return numbers;
  numbers.reserve(static_cast<size_t>(count(i)));
  with_type(resolved(operands_[i].element, real_), [&](auto zero) {
    using T = decltype(zero);
    const T* values = reinterpret_cast<const T*>(raw.data());
    for (int64_t j = 0; j < count(i); ++j) numbers.push_back(as_double(values[j]));
  });
  return numbers;
}

bool Operands::guards_intact(size_t i) const {
  const int64_t count = operand_bytes(operands_[i], real_);
  std::vector<std::byte> around(static_cast<size_t>(2 * guard_bytes_));
  copy_to_host(stream_, around.data(), data(i) - guard_bytes_, guard_bytes_);
  copy_to_host(stream_, around.data() + guard_bytes_, data(i) + count, guard_bytes_);
  return std::all_of(around.begin(), around.end(),
                     [](std::byte byte) { return byte == std::byte{kGuard}; });
}

void Operands::make_absolute() {
  for (size_t i = 0; i < operands_.size(); ++i) {
    if (!is_floating(operands_[i].element)) continue;
    with_type(resolved(operands_[i].element, real_), [&](auto zero) {
      using T = decltype(zero);
      T* values = reinterpret_cast<T*>(data(i));
      for (int64_t j = 0; j < count(i); ++j) {
        if (as_double(values[j]) < 0) values[j] = from_double<T>(-as_double(values[j]));
      }
    });
  }
}

Operands Operands::clone() const {
  Operands copy = *this;
  for (Tensor& memory : copy.memory_) memory = memory.clone(stream_);
  return copy;
}

std::vector<OpCase> op_cases() {
  std::vector<OpCase> all;
  const auto add = [&all](std::vector<OpCase> cases) {
    for (OpCase& op : cases) all.push_back(std::move(op));
  };
  add(gemm_cases());
  add(conv2d_cases());
  add(pool2d_cases());
  add(elementwise_cases());
  add(dropout_cases());
  add(softmax_cross_entropy_cases());
  add(reduce_cases());
  add(copy_cases());
  add(augment_cases());
  add(batch_cases());
  add(batch_norm_cases());
  add(adam_cases());
  add(sgd_cases());
  add(embedding_cases());
  add(lstm_cases());
  add(sequence_pool_cases());
  return all;
}

}  // namespace flyball::testing

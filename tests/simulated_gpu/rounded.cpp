#include <cfenv>
#include <cmath>

#include "tests/simulated_gpu/float_formats.h"
#include "tests/simulated_gpu/rows.h"

// fp32 and fp64 arithmetic with directed rounding (.rz, .rm, .rp): the host's unit is switched for
// the row.
namespace flyball::simulated_gpu {
namespace {

enum class Operation { add, sub, mul, div, fma, reciprocal, root };

// Keeps the compiler from moving arithmetic across the change of the rounding mode.
template <class T>
T pinned(T v) {
  asm volatile("" : "+m"(v) : : "memory");
  return v;
}

template <class T, Operation operation>
T compute(T a, T b, T c) {
  switch (operation) {
    case Operation::add:
      return a + b;
    case Operation::sub:
      return a - b;
    case Operation::mul:
      return a * b;
    case Operation::div:
      return a / b;
    case Operation::fma:
      return std::fma(a, b, c);
    case Operation::reciprocal:
      return T(1) / a;
    case Operation::root:
      return std::sqrt(a);
  }
}

template <class T, Operation operation>
void rounded_row(Warp& w, const Instruction& in, uint32_t) {
  T* d = w.row<T>(in.d);
  const T* a = w.row<T>(in.a);
  const T* b = operation < Operation::reciprocal ? w.row<T>(in.b) : a;
  const T* c = operation == Operation::fma ? w.row<T>(in.c) : a;
  const int modes[] = {FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  const bool ftz = in.flags & 4, sat = in.flags & 8;
  const auto in_of = [&](T v) { return ftz ? static_cast<T>(flush(static_cast<float>(v))) : v; };
  std::fesetround(modes[in.flags & 3]);
  for (int l = 0; l < 32; ++l)
    d[l] = pinned(
        compute<T, operation>(pinned(in_of(a[l])), pinned(in_of(b[l])), pinned(in_of(c[l]))));
  std::fesetround(FE_TONEAREST);
  for (int l = 0; l < 32; ++l) {
    d[l] = in_of(d[l]);
    if (sat) d[l] = saturate01(d[l]);
  }
}

template <class T>
Handler handler_of(std::string_view op, int& operands) {
  operands = 2;
  if (op == "add") return rounded_row<T, Operation::add>;
  if (op == "sub") return rounded_row<T, Operation::sub>;
  if (op == "mul") return rounded_row<T, Operation::mul>;
  if (op == "div") return rounded_row<T, Operation::div>;
  operands = 3;
  if (op == "fma" || op == "mad") return rounded_row<T, Operation::fma>;
  operands = 1;
  if (op == "rcp") return rounded_row<T, Operation::reciprocal>;
  if (op == "sqrt") return rounded_row<T, Operation::root>;
  return nullptr;
}

}  // namespace

bool decode_rounded(Decoder& d) {
  const auto parts = d.statement().parts();
  if (parts.size() < 3) return false;
  const uint8_t mode = parts[1] == "rz" ? 0 : parts[1] == "rm" ? 1 : parts[1] == "rp" ? 2 : 255;
  const bool wide = parts.back() == "f64";
  if (mode == 255 || (!wide && parts.back() != "f32")) return false;
  uint8_t flags = mode;
  for (size_t i = 2; i + 1 < parts.size(); ++i) {
    if (parts[i] == "ftz" && !wide)
      flags |= 4;
    else if (parts[i] == "sat" && !wide)
      flags |= 8;
    else
      return false;
  }
  int operands = 0;
  const Handler handler =
      wide ? handler_of<double>(parts[0], operands) : handler_of<float>(parts[0], operands);
  if (!handler) return false;
  const int width = wide ? 8 : 4;
  d.add(handler, Control::row).in.width = static_cast<uint8_t>(width);
  d.in().flags = flags;
  d.source(Field::a, d.operand(1), width);
  if (operands > 1) d.source(Field::b, d.operand(2), width);
  if (operands > 2) d.source(Field::c, d.operand(3), width);
  d.destination(Field::d, d.operand(0), width);
  return true;
}

}  // namespace flyball::simulated_gpu

#include <cmath>
#include <type_traits>

#include "tests/simulated_gpu/float_formats.h"
#include "tests/simulated_gpu/rows.h"

// f16 and bf16, one or two in a register. Sums and products are exact enough in fp32 to round once
// (24 >= 2 * 11 + 2 bits); fma is rounded once through rounding to odd in double.
namespace flyball::simulated_gpu {
namespace {

template <class Format, bool sat, bool relu>
uint16_t finish(float v) {
  if constexpr (sat) v = saturate01(v);
  if constexpr (relu) v = v != v ? v : v > 0 ? v : 0.0f;
  return Format::store(v);
}

template <class T, class F>  // T: uint16_t, or uint32_t that holds two
T each(F f, T a) {
  if constexpr (sizeof(T) == 2)
    return f(a);
  else
    return f(static_cast<uint16_t>(a)) | uint32_t{f(static_cast<uint16_t>(a >> 16))} << 16;
}
template <class T, class F>
T each(F f, T a, T b) {
  if constexpr (sizeof(T) == 2)
    return f(a, b);
  else
    return f(static_cast<uint16_t>(a), static_cast<uint16_t>(b)) |
           uint32_t{f(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16))} << 16;
}
template <class T, class F>
T each(F f, T a, T b, T c) {
  if constexpr (sizeof(T) == 2)
    return f(a, b, c);
  else
    return f(static_cast<uint16_t>(a), static_cast<uint16_t>(b), static_cast<uint16_t>(c)) |
           uint32_t{f(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16),
                      static_cast<uint16_t>(c >> 16))}
               << 16;
}

template <class Format, class T, bool sat, bool relu, auto op>
constexpr Entry two() {
  return binary<T, [](T a, T b) {
    return each<T>(
        [](uint16_t x, uint16_t y) {
          return finish<Format, sat, relu>(op(Format::load(x), Format::load(y)));
        },
        a, b);
  }>();
}
template <class Format, class T, bool sat, bool relu>
constexpr Entry fused() {
  return ternary<T, [](T a, T b, T c) {
    return each<T>(
        [](uint16_t x, uint16_t y, uint16_t z) {
          const double product = static_cast<double>(Format::load(x)) * Format::load(y);
          return finish<Format, sat, relu>(to_odd_float(to_odd_sum(product, Format::load(z))));
        },
        a, b, c);
  }>();
}
template <class Format, class T, auto op>
constexpr Entry one() {
  return unary<T, T, [](T a) {
    return each<T>(
        [](uint16_t x) {
          return Format::store(to_odd_float(op(static_cast<double>(Format::load(x)))));
        },
        a);
  }>();
}

template <class Format, class T, bool sat, bool relu>
void add_arithmetic(Table& t, const std::string& type) {
  const std::string end = std::string(sat ? ".sat" : relu ? ".relu" : "") + "." + type;
  if (!relu) {
    for (const char* round : {"", ".rn"}) {
      t[std::string("add") + round + end] =
          two<Format, T, sat, relu, [](float a, float b) { return a + b; }>();
      t[std::string("sub") + round + end] =
          two<Format, T, sat, relu, [](float a, float b) { return a - b; }>();
      t[std::string("mul") + round + end] =
          two<Format, T, sat, relu, [](float a, float b) { return a * b; }>();
    }
  }
  t["fma.rn" + end] = fused<Format, T, sat, relu>();
}

template <class Format, class T>
void add_type(Table& t, const std::string& type) {
  add_arithmetic<Format, T, false, false>(t, type);
  add_arithmetic<Format, T, true, false>(t, type);
  add_arithmetic<Format, T, false, true>(t, type);
  constexpr T sign = sizeof(T) == 2 ? T(0x8000) : T(0x80008000);
  t["neg." + type] = unary<T, T, [](T a) { return static_cast<T>(a ^ sign); }>();
  t["abs." + type] = unary<T, T, [](T a) { return static_cast<T>(a & static_cast<T>(~sign)); }>();
  t["min." + type] = two<Format, T, false, false, min_max<float, false, false>>();
  t["max." + type] = two<Format, T, false, false, min_max<float, true, false>>();
  t["min.NaN." + type] = two<Format, T, false, false, min_max<float, false, true>>();
  t["max.NaN." + type] = two<Format, T, false, false, min_max<float, true, true>>();
  const std::string ftz = type.starts_with("bf16") ? ".ftz." : ".";
  t["ex2.approx" + ftz + type] = one<Format, T, [](double a) { return std::exp2(a); }>();
  t["tanh.approx." + type] = one<Format, T, [](double a) { return std::tanh(a); }>();
}

const Table& table() {
  static const Table& instance = *[] {
    auto* t = new Table;
    add_type<Half, uint16_t>(*t, "f16");
    add_type<Half, uint32_t>(*t, "f16x2");
    add_type<Bfloat, uint16_t>(*t, "bf16");
    add_type<Bfloat, uint32_t>(*t, "bf16x2");
    return t;
  }();
  return instance;
}

}  // namespace

bool decode_half(Decoder& d) { return d.from_table(table()); }

}  // namespace flyball::simulated_gpu

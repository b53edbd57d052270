#include <cmath>

#include "tests/simulated_gpu/float_formats.h"
#include "tests/simulated_gpu/rows.h"

// fp32 and fp64 arithmetic rounded to nearest even, and the approximate functions, which are
// computed in double.
namespace flyball::simulated_gpu {
namespace {

template <class T, bool ftz>
T operand(T v) {
  if constexpr (ftz)
    return flush(v);
  else
    return v;
}
template <class T, bool ftz, bool sat>
T result(T v) {
  if constexpr (ftz) v = flush(v);
  if constexpr (sat) v = saturate01(v);
  return v;
}

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSub = [](auto a, auto b) { return a - b; };
constexpr auto kMul = [](auto a, auto b) { return a * b; };
constexpr auto kDiv = [](auto a, auto b) { return a / b; };
constexpr auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
constexpr auto kReciprocal = [](auto a) { return decltype(a)(1) / a; };
constexpr auto kRoot = [](auto a) { return std::sqrt(a); };
constexpr auto kNegative = [](auto a) { return -a; };
constexpr auto kAbsolute = [](auto a) { return std::fabs(a); };
constexpr auto kExp2 = [](auto a) { return std::exp2(double(a)); };
constexpr auto kLog2 = [](auto a) { return std::log2(double(a)); };
constexpr auto kSin = [](auto a) { return std::sin(double(a)); };
constexpr auto kCos = [](auto a) { return std::cos(double(a)); };
constexpr auto kTanh = [](auto a) { return std::tanh(double(a)); };
constexpr auto kInverseRoot = [](auto a) { return 1.0 / std::sqrt(double(a)); };

template <class T, bool ftz, bool sat, auto op>
constexpr Entry one() {
  return unary<T, T,
               [](T a) { return result<T, ftz, sat>(static_cast<T>(op(operand<T, ftz>(a)))); }>();
}
template <class T, bool ftz, bool sat, auto op>
constexpr Entry two() {
  return binary<T, [](T a, T b) {
    return result<T, ftz, sat>(static_cast<T>(op(operand<T, ftz>(a), operand<T, ftz>(b))));
  }>();
}
template <class T, bool ftz, bool sat, auto op>
constexpr Entry three() {
  return ternary<T, [](T a, T b, T c) {
    return result<T, ftz, sat>(
        static_cast<T>(op(operand<T, ftz>(a), operand<T, ftz>(b), operand<T, ftz>(c))));
  }>();
}

template <bool ftz, bool sat>
void add_f32_arithmetic(Table& t) {
  const std::string end = std::string(ftz ? ".ftz" : "") + (sat ? ".sat" : "") + ".f32";
  for (const char* round : {"", ".rn"}) {
    t[std::string("add") + round + end] = two<float, ftz, sat, kAdd>();
    t[std::string("sub") + round + end] = two<float, ftz, sat, kSub>();
    t[std::string("mul") + round + end] = two<float, ftz, sat, kMul>();
  }
  t["fma.rn" + end] = three<float, ftz, sat, kFma>();
  t["mad.rn" + end] = three<float, ftz, sat, kFma>();
}

template <bool ftz>
void add_f32(Table& t) {
  const std::string end = std::string(ftz ? ".ftz" : "") + ".f32";
  add_f32_arithmetic<ftz, false>(t);
  add_f32_arithmetic<ftz, true>(t);
  t["div.rn" + end] = two<float, ftz, false, kDiv>();
  t["div.approx" + end] = t["div.full" + end] =
      two<float, ftz, false, [](float a, float b) { return double(a) / double(b); }>();
  t["rcp.rn" + end] = one<float, ftz, false, kReciprocal>();
  t["rcp.approx" + end] = one<float, ftz, false, [](float a) { return 1.0 / double(a); }>();
  t["sqrt.rn" + end] = one<float, ftz, false, kRoot>();
  t["sqrt.approx" + end] = one<float, ftz, false, [](float a) { return std::sqrt(double(a)); }>();
  t["rsqrt.approx" + end] = one<float, ftz, false, kInverseRoot>();
  t["ex2.approx" + end] = one<float, ftz, false, kExp2>();
  t["lg2.approx" + end] = one<float, ftz, false, kLog2>();
  t["sin.approx" + end] = one<float, ftz, false, kSin>();
  t["cos.approx" + end] = one<float, ftz, false, kCos>();
  t["neg" + end] = one<float, ftz, false, kNegative>();
  t["abs" + end] = one<float, ftz, false, kAbsolute>();
  t["min" + end] = two<float, ftz, false, min_max<float, false, false>>();
  t["max" + end] = two<float, ftz, false, min_max<float, true, false>>();
  const std::string nan = std::string(ftz ? ".ftz" : "") + ".NaN.f32";
  t["min" + nan] = two<float, ftz, false, min_max<float, false, true>>();
  t["max" + nan] = two<float, ftz, false, min_max<float, true, true>>();
}

const Table& table() {
  static const Table& instance = *[] {
    auto* table = new Table;
    Table& t = *table;
    add_f32<false>(t);
    add_f32<true>(t);
    t["tanh.approx.f32"] = one<float, false, false, kTanh>();
    for (const char* round : {"", ".rn"}) {
      t[std::string("add") + round + ".f64"] = two<double, false, false, kAdd>();
      t[std::string("sub") + round + ".f64"] = two<double, false, false, kSub>();
      t[std::string("mul") + round + ".f64"] = two<double, false, false, kMul>();
    }
    t["fma.rn.f64"] = t["mad.rn.f64"] = three<double, false, false, kFma>();
    t["div.rn.f64"] = two<double, false, false, kDiv>();
    t["rcp.rn.f64"] = one<double, false, false, kReciprocal>();
    t["sqrt.rn.f64"] = one<double, false, false, kRoot>();
    t["rcp.approx.ftz.f64"] = one<double, false, false, kReciprocal>();
    t["rsqrt.approx.f64"] = t["rsqrt.approx.ftz.f64"] = one<double, false, false, kInverseRoot>();
    t["neg.f64"] = one<double, false, false, kNegative>();
    t["abs.f64"] = one<double, false, false, kAbsolute>();
    t["min.f64"] = two<double, false, false, min_max<double, false, false>>();
    t["max.f64"] = two<double, false, false, min_max<double, true, false>>();
    t["copysign.f32"] = binary<float, [](float sign, float v) { return std::copysign(v, sign); }>();
    t["copysign.f64"] =
        binary<double, [](double sign, double v) { return std::copysign(v, sign); }>();
    return table;
  }();
  return instance;
}

}  // namespace

bool decode_floating(Decoder& d) { return d.from_table(table()); }

}  // namespace flyball::simulated_gpu

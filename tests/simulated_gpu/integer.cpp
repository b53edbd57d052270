#include <algorithm>
#include <type_traits>

#include "tests/simulated_gpu/rows.h"

// add sub mul mad min max div rem neg abs sad, 24-bit products, dp4a, dp2a, carries.
namespace flyball::simulated_gpu {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
using Wide =
    std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
                       std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

template <class T>
T high_product(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    using Double = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>(static_cast<Double>(a) * b >> 64);
  } else {
    using Double = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
    return static_cast<T>(static_cast<Double>(a) * b >> 8 * sizeof(T));
  }
}
template <class T>
T product(T a, T b) {  // modulo 2^bits
  return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
template <class T>
T sum(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
// Division by zero gives all ones, as the hardware does; the most negative number over -1 wraps.
template <class T>
T quotient(T a, T b) {
  if (b == 0) return static_cast<T>(~uint64_t{0});
  if (std::is_signed_v<T> && b == static_cast<T>(-1))
    return static_cast<T>(-static_cast<uint64_t>(a));
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}
template <class T>
void add_type(Table& t, const std::string& name) {
  t["add." + name] = binary<T, [](T a, T b) { return sum(a, b); }>();
  t["sub." + name] =
      binary<T, [](T a, T b) { return sum(a, static_cast<T>(-static_cast<uint64_t>(b))); }>();
  t["mul.lo." + name] = binary<T, [](T a, T b) { return product(a, b); }>();
  t["mul.hi." + name] = binary<T, [](T a, T b) { return high_product(a, b); }>();
  t["mad.lo." + name] = ternary<T, [](T a, T b, T c) { return sum(product(a, b), c); }>();
  t["mad.hi." + name] = ternary<T, [](T a, T b, T c) { return sum(high_product(a, b), c); }>();
  t["min." + name] = binary<T, [](T a, T b) { return std::min(a, b); }>();
  t["max." + name] = binary<T, [](T a, T b) { return std::max(a, b); }>();
  t["div." + name] = binary<T, [](T a, T b) { return quotient(a, b); }>();
  t["rem." + name] = binary<T, [](T a, T b) { return remainder(a, b); }>();
  t["sad." + name] = ternary<T, T, T, T, [](T a, T b, T c) {
    return sum(c, static_cast<T>(a < b ? static_cast<uint64_t>(b) - static_cast<uint64_t>(a)
                                       : static_cast<uint64_t>(a) - static_cast<uint64_t>(b)));
  }>();
  if constexpr (sizeof(T) <= 4) {
    using W = Wide<T>;
    t["mul.wide." + name] =
        binary<W, T, T, [](T a, T b) { return static_cast<W>(a) * static_cast<W>(b); }>();
    t["mad.wide." + name] = ternary<W, T, T, W, [](T a, T b, W c) {
      return sum(static_cast<W>(static_cast<W>(a) * static_cast<W>(b)), c);
    }>();
  }
  if constexpr (std::is_signed_v<T>) {
    t["neg." + name] = unary<T, T, [](T a) { return static_cast<T>(-static_cast<uint64_t>(a)); }>();
    t["abs." + name] =
        unary<T, T, [](T a) { return a < 0 ? static_cast<T>(-static_cast<uint64_t>(a)) : a; }>();
  }
}

int32_t saturate(int64_t v) {
  return static_cast<int32_t>(std::clamp<int64_t>(v, INT32_MIN, INT32_MAX));
}
template <class T>
int64_t low24(T a) {  // sign- or zero-extended from 24 bits
  return std::is_signed_v<T> ? static_cast<int32_t>(static_cast<uint32_t>(a) << 8) >> 8
                             : static_cast<int64_t>(static_cast<uint32_t>(a) & 0xFFFFFF);
}

// d = c + sum of the products of bytes (dp4a) or of halves of a with bytes of b (dp2a).
template <class A, class B>
uint32_t dot4(uint32_t a, uint32_t b, uint32_t c) {
  for (int i = 0; i < 4; ++i)
    c += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>(a >> 8 * i)) *
                               static_cast<int32_t>(static_cast<B>(b >> 8 * i)));
  return c;
}
template <class A, class B, bool high>
uint32_t dot2(uint32_t a, uint32_t b, uint32_t c) {
  for (int i = 0; i < 2; ++i)
    c += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>(a >> 16 * i)) *
                               static_cast<int32_t>(static_cast<B>(b >> 8 * (i + 2 * high))));
  return c;
}

template <class A, class B>
void add_dots(Table& t, const std::string& types) {
  t["dp4a." + types] =
      ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t c) { return dot4<A, B>(a, b, c); }>();
  using A2 = std::conditional_t<std::is_signed_v<A>, int16_t, uint16_t>;
  t["dp2a.lo." + types] = ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t c) {
    return dot2<A2, B, false>(a, b, c);
  }>();
  t["dp2a.hi." + types] = ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t c) {
    return dot2<A2, B, true>(a, b, c);
  }>();
}

const Table& table() {
  static const Table& instance = *[] {
    auto* t = new Table;
    add_type<int16_t>(*t, "s16");
    add_type<uint16_t>(*t, "u16");
    add_type<int32_t>(*t, "s32");
    add_type<uint32_t>(*t, "u32");
    add_type<int64_t>(*t, "s64");
    add_type<uint64_t>(*t, "u64");
    (*t)["add.sat.s32"] =
        binary<int32_t, [](int32_t a, int32_t b) { return saturate(int64_t{a} + b); }>();
    (*t)["sub.sat.s32"] =
        binary<int32_t, [](int32_t a, int32_t b) { return saturate(int64_t{a} - b); }>();
    (*t)["mul24.lo.s32"] =
        binary<int32_t, [](int32_t a, int32_t b) { return low24(a) * low24(b); }>();
    (*t)["mul24.lo.u32"] =
        binary<uint32_t, [](uint32_t a, uint32_t b) { return low24(a) * low24(b); }>();
    (*t)["mad24.lo.s32"] =
        ternary<int32_t, [](int32_t a, int32_t b, int32_t c) { return low24(a) * low24(b) + c; }>();
    (*t)["mad24.lo.u32"] = ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t c) {
      return low24(a) * low24(b) + c;
    }>();
    add_dots<int8_t, int8_t>(*t, "s32.s32");
    add_dots<int8_t, uint8_t>(*t, "s32.u32");
    add_dots<uint8_t, int8_t>(*t, "u32.s32");
    add_dots<uint8_t, uint8_t>(*t, "u32.u32");
    return t;
  }();
  return instance;
}

// add.cc addc.cc addc, sub.cc subc.cc subc, mad{c}.{lo,hi}.cc: flags 1: takes the carry in, 2: sets
// it.
template <class T, int operation>  // 0 add, 1 sub, 2 mad.lo, 3 mad.hi
void with_carry(Warp& w, const Instruction& in, uint32_t mask) {
  T* d = w.row<T>(in.d);
  const T *a = w.row<T>(in.a), *b = w.row<T>(in.b), *c = operation >= 2 ? w.row<T>(in.c) : nullptr;
  uint32_t out = 0;
  for_active(mask, [&](int l) {
    const unsigned carry = (in.flags & 1) ? w.carry >> l & 1 : 0;
    T x = a[l], y = b[l];
    if constexpr (operation >= 2) {
      x = operation == 2 ? product(a[l], b[l]) : high_product(a[l], b[l]);
      y = c[l];
    }
    T partial, result;
    bool over;
    if constexpr (operation == 1) {
      over = __builtin_sub_overflow(x, y, &partial);
      over |= __builtin_sub_overflow(partial, static_cast<T>(carry), &result);
    } else {
      over = __builtin_add_overflow(x, y, &partial);
      over |= __builtin_add_overflow(partial, static_cast<T>(carry), &result);
    }
    d[l] = result;
    out |= static_cast<uint32_t>(over) << l;
  });
  if (in.flags & 2) w.carry = (w.carry & ~mask) | out;
}

template <int operation>
bool decode_carry_of(Decoder& d, bool wide) {
  const auto& s = d.statement();
  d.add(wide ? with_carry<uint64_t, operation> : with_carry<uint32_t, operation>, Control::masked);
  const std::string_view op = s.parts()[0];
  if (op.back() == 'c' && op != "mac") d.in().flags |= 1;
  if (s.has("cc")) d.in().flags |= 2;
  const int width = wide ? 8 : 4;
  d.source(Field::a, d.operand(1), width);
  d.source(Field::b, d.operand(2), width);
  if (operation >= 2) d.source(Field::c, d.operand(3), width);
  d.destination(Field::d, d.operand(0), width);
  return true;
}

bool decode_carry(Decoder& d) {
  const auto parts = d.statement().parts();
  const std::string_view op = parts[0];
  if (!d.statement().has("cc") && op != "addc" && op != "subc" && op != "madc") return false;
  const Type type = type_of(parts.back());
  const bool wide = size_of(type) == 8;
  if (op == "add" || op == "addc") return decode_carry_of<0>(d, wide);
  if (op == "sub" || op == "subc") return decode_carry_of<1>(d, wide);
  if ((op != "mad" && op != "madc") || type == Type::s32 || type == Type::s64) {
    if (op != "mad" && op != "madc") return false;
    if (d.statement().has("hi")) d.fail("signed high products with a carry are not covered");
  }
  return d.statement().has("hi") ? decode_carry_of<3>(d, wide) : decode_carry_of<2>(d, wide);
}

}  // namespace

bool decode_integer(Decoder& d) { return d.from_table(table()) || decode_carry(d); }

}  // namespace flyball::simulated_gpu

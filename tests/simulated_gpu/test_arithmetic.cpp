#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <algorithm>
#include <bit>
#include <cfenv>

#include "tests/simulated_gpu/test_support.h"

namespace flyball::simulated_gpu {
namespace {

using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

template <class T>
void check_integer_type(const std::string& type) {
  const auto two = [&](const std::string& op, auto f) {
    check_against<T, T, T, T>(op + "." + type + " %d, %a, %b;",
                              [=](T a, T b, T) { return static_cast<T>(f(a, b)); });
  };
  using W = __int128;
  constexpr int bits = 8 * sizeof(T);
  two("add", [](T a, T b) { return W(a) + W(b); });
  two("sub", [](T a, T b) { return W(a) - W(b); });
  two("mul.lo", [](T a, T b) {
    return static_cast<unsigned __int128>(W(a)) * static_cast<unsigned __int128>(W(b));
  });
  two("mul.hi", [](T a, T b) {
    if constexpr (std::is_signed_v<T>)
      return W(a) * W(b) >> bits;
    else
      return static_cast<unsigned __int128>(a) * b >> bits;
  });
  two("min", [](T a, T b) { return std::min(a, b); });
  two("max", [](T a, T b) { return std::max(a, b); });
  check_against<T, T, T, T>("mad.lo." + type + " %d, %a, %b, %c;", [](T a, T b, T c) {
    return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b) + static_cast<u64>(c));
  });
  check_against<T, T, T, T>(
      "setp.eq.b" + std::to_string(bits) + " %p, %b, 0; selp.b" + std::to_string(bits) +
          " %b, 3, %b, %p; div." + type + " %d, %a, %b;",
      [](T a, T b, T) { return static_cast<T>(W(a) / W(b == 0 ? T(3) : b)); });
  check_against<T, T, T, T>(
      "setp.eq.b" + std::to_string(bits) + " %p, %b, 0; selp.b" + std::to_string(bits) +
          " %b, 3, %b, %p; rem." + type + " %d, %a, %b;",
      [](T a, T b, T) { return static_cast<T>(W(a) % W(b == 0 ? T(3) : b)); });
  check_against<T, T, u32, T>("shr." + type + " %d, %a, %b;", [](T a, u32 n, T) {
    if (n >= bits) return std::is_signed_v<T> && a < 0 ? T(-1) : T(0);
    return static_cast<T>(a >> n);
  });
  check_against<T, T, u32, T>("and.b32 %b, %b, 70; shl.b" + std::to_string(bits) + " %d, %a, %b;",
                              [](T a, u32 n, T) {
                                n &= 70;
                                return n >= bits ? T(0) : static_cast<T>(static_cast<u64>(a) << n);
                              });
  for (const auto& [name, relation] : {std::pair{"lt", 0}, std::pair{"le", 1}, std::pair{"gt", 2},
                                       std::pair{"ge", 3}, std::pair{"eq", 4}, std::pair{"ne", 5}})
    check_against<u32, T, T, T>(std::string("setp.") + name + "." + type +
                                    " %p|%q, %a, %b; selp.u32 %d, 1, 0, %p; @%q add.u32 %d, %d, 2;",
                                [relation = relation](T a, T b, T) {
                                  const bool r[] = {a<b, a <= b, a> b, a >= b, a == b, a != b};
                                  return r[relation] ? 1u : 2u;
                                });
}

TEST_CASE("integers: arithmetic, shifts and comparisons of every type agree with the host") {
  check_integer_type<s16>("s16");
  check_integer_type<u16>("u16");
  check_integer_type<s32>("s32");
  check_integer_type<u32>("u32");
  check_integer_type<s64>("s64");
  check_integer_type<u64>("u64");
}

TEST_CASE("integers: wide products, carries, dot products") {
  check_against<s64, s32, s32, s64>("mad.wide.s32 %d, %a, %b, %c;", [](s32 a, s32 b, s64 c) {
    return static_cast<s64>(static_cast<u64>(s64{a} * b) + static_cast<u64>(c));
  });
  check_against<u64, u32, u32, u64>("mul.wide.u32 %d, %a, %b;",
                                    [](u32 a, u32 b, u64) { return u64{a} * b; });
  check_against<u32, u16, u16, u16>("mul.wide.u16 %d, %a, %b;",
                                    [](u16 a, u16 b, u16) { return u32{a} * b; });
  check_against<u64, u64, u64, u64>(
      "{ .reg .b32 %x0, %x1, %y0, %y1; mov.b64 {%x0, %x1}, %a; mov.b64 {%y0, %y1}, %b; add.cc.u32 "
      "%x0, %x0, %y0; addc.u32 %x1, %x1, %y1; mov.b64 %d, {%x0, %x1}; }",
      [](u64 a, u64 b, u64) { return a + b; });
  check_against<u64, u64, u64, u64>(
      "{ .reg .b32 %x0, %x1, %y0, %y1; mov.b64 {%x0, %x1}, %a; mov.b64 {%y0, %y1}, %b; sub.cc.u32 "
      "%x0, %x0, %y0; subc.u32 %x1, %x1, %y1; mov.b64 %d, {%x0, %x1}; }",
      [](u64 a, u64 b, u64) { return a - b; });
  check_against<u64, u32, u32, u64>(
      "{ .reg .b32 %l, %h, %z0, %z1; mov.b64 {%z0, %z1}, %c; mad.lo.cc.u32 %l, %a, %b, %z0; "
      "madc.hi.u32 %h, %a, %b, %z1; mov.b64 %d, {%l, %h}; }",
      [](u32 a, u32 b, u64 c) { return u64{a} * b + c; });
  check_against<u32, u32, u32, u32>("dp4a.s32.s32 %d, %a, %b, %c;", [](u32 a, u32 b, u32 c) {
    for (int i = 0; i < 32; i += 8)
      c += static_cast<u32>(static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i));
    return c;
  });
  check_against<s32, s32, s32, s32>("sad.s32 %d, %a, %b, %c;", [](s32 a, s32 b, s32 c) {
    return static_cast<s32>(static_cast<u64>(std::abs(s64{a} - b)) + static_cast<u64>(c));
  });
}

TEST_CASE("bits: extraction, insertion, permutation, counting") {
  const auto position = [](u32 v) { return v & 255; };
  check_against<u32, u32, u32, u32>("bfe.u32 %d, %a, %b, %c;", [&](u32 a, u32 b, u32 c) {
    u32 r = 0;
    for (u32 i = 0; i < 32 && i < position(c); ++i)
      if (position(b) + i < 32) r |= (a >> (position(b) + i) & 1) << i;
    return r;
  });
  check_against<s32, s32, u32, u32>("bfe.s32 %d, %a, %b, %c;", [&](s32 a, u32 b, u32 c) {
    const u32 p = position(b), n = position(c);
    u32 r = 0;
    const bool sign = n && (static_cast<u32>(a) >> std::min(p + n - 1, 31u) & 1);
    for (u32 i = 0; i < 32; ++i)
      r |= ((i < n && p + i < 32 ? static_cast<u32>(a) >> (p + i) & 1 : u32{sign})) << i;
    return static_cast<s32>(r);
  });
  check_against<u64, u64, u32, u32>(
      "bfi.b64 %d, %a, 0x123456789ABCDEF, %b, %c;", [&](u64 a, u32 b, u32 c) {
        u64 r = 0x123456789ABCDEF;
        for (u32 i = 0; i < position(c) && position(b) + i < 64; ++i)
          r = (r & ~(u64{1} << (position(b) + i))) | (a >> i & 1) << (position(b) + i);
        return r;
      });
  check_against<u32, u32, u32, u32>("prmt.b32 %d, %a, %b, %c;", [](u32 a, u32 b, u32 c) {
    uint8_t bytes[8];
    std::memcpy(bytes, &a, 4);
    std::memcpy(bytes + 4, &b, 4);
    u32 r = 0;
    for (int i = 0; i < 4; ++i) {
      const u32 pick = c >> 4 * i & 15;
      u32 v = bytes[pick & 7];
      if (pick & 8) v = v >> 7 ? 255 : 0;
      r |= v << 8 * i;
    }
    return r;
  });
  check_against<u32, u32, u32, u32>("lop3.b32 %d, %a, %b, %c, 0x96;",
                                    [](u32 a, u32 b, u32 c) { return a ^ b ^ c; });
  check_against<u32, u32, u32, u32>("lop3.b32 %d, %a, %b, %c, 0xCA;",
                                    [](u32 a, u32 b, u32 c) { return (a & b) | (~a & c); });
  check_against<u32, u32, u32, u32>("shf.l.wrap.b32 %d, %a, %b, %c;", [](u32 a, u32 b, u32 n) {
    n &= 31;
    return n ? b << n | a >> (32 - n) : b;
  });
  check_against<u32, u32, u32, u32>("shf.r.clamp.b32 %d, %a, %b, %c;", [](u32 a, u32 b, u32 n) {
    n = std::min(n, 32u);
    return n == 32 ? b : n ? b << (32 - n) | a >> n : a;
  });
  check_against<u32, u64, u32, u32>(
      "popc.b64 %d, %a;", [](u64 a, u32, u32) { return static_cast<u32>(std::popcount(a)); });
  check_against<u32, u32, u32, u32>(
      "clz.b32 %d, %a;", [](u32 a, u32, u32) { return static_cast<u32>(std::countl_zero(a)); });
  check_against<u32, s32, u32, u32>("bfind.s32 %d, %a;", [](s32 a, u32, u32) {
    const u32 v = static_cast<u32>(a < 0 ? ~a : a);
    return v ? 31u - static_cast<u32>(std::countl_zero(v)) : ~0u;
  });
  check_against<u32, u32, u32, u32>("brev.b32 %d, %a; brev.b32 %d, %d; xor.b32 %d, %d, %b;",
                                    [](u32 a, u32 b, u32) { return a ^ b; });
}

TEST_CASE("fp32 and fp64: arithmetic agrees with the host bit by bit") {
  check_against<float, float, float, float>("add.f32 %d, %a, %b;",
                                            [](float a, float b, float) { return a + b; });
  check_against<float, float, float, float>("sub.rn.f32 %d, %a, %b;",
                                            [](float a, float b, float) { return a - b; });
  check_against<float, float, float, float>("mul.f32 %d, %a, %b;",
                                            [](float a, float b, float) { return a * b; });
  check_against<float, float, float, float>("div.rn.f32 %d, %a, %b;",
                                            [](float a, float b, float) { return a / b; });
  check_against<float, float, float, float>(
      "fma.rn.f32 %d, %a, %b, %c;", [](float a, float b, float c) { return std::fma(a, b, c); });
  check_against<float, float, float, float>("fma.rn.sat.f32 %d, %a, %b, %c;",
                                            [](float a, float b, float c) {
                                              const float v = std::fma(a, b, c);
                                              return v > 0 ? std::min(v, 1.0f) : 0.0f;
                                            });
  check_against<float, float, float, float>("sqrt.rn.f32 %d, %a;",
                                            [](float a, float, float) { return std::sqrt(a); });
  check_against<float, float, float, float>("min.f32 %d, %a, %b;", [](float a, float b, float) {
    return a != a ? b : b != b ? a : a == 0 && b == 0 ? (std::signbit(a) ? a : b) : std::min(a, b);
  });
  check_against<float, float, float, float>("max.NaN.f32 %d, %a, %b;", [](float a, float b, float) {
    return a != a ? a : b != b ? b : a == 0 && b == 0 ? (std::signbit(a) ? b : a) : std::max(a, b);
  });
  check_against<float, float, float, float>(
      "ex2.approx.ftz.f32 %d, %a;", [](float a, float, float) {
        const float v = static_cast<float>(std::exp2(static_cast<double>(a)));
        return v < 0x1p-126f ? 0.0f : v;
      });
  check_against<double, double, double, double>(
      "fma.rn.f64 %d, %a, %b, %c;", [](double a, double b, double c) { return std::fma(a, b, c); });
  check_against<double, double, double, double>("div.rn.f64 %d, %a, %b;",
                                                [](double a, double b, double) { return a / b; });
  check_against<float, float, float, float>("mul.ftz.f32 %d, %a, %b;", [](float a, float b, float) {
    const auto flush = [](float v) {
      return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v;
    };
    return flush(flush(a) * flush(b));
  });
  check_against<u32, float, float, float>(
      "setp.ltu.f32 %p, %a, %b; setp.ge.and.f32 %q, %a, %c, %p; selp.u32 %d, 1, 0, %p; @%q add.u32 "
      "%d, %d, 2;",
      [](float a, float b, float c) {
        const bool p = !(a >= b), q = a >= c && p;
        return u32{p} + 2 * u32{q};
      });
}

TEST_CASE("fp32: directed rounding brackets the exact result") {
  const auto a = random_values<float>(500, 3), b = random_values<float>(500, 4);
  for (const char* op : {"add", "mul", "div"}) {
    const auto down = evaluate<float, float, float>(std::string(op) + ".rm.f32 %d, %a, %b;", a, b);
    const auto up = evaluate<float, float, float>(std::string(op) + ".rp.f32 %d, %a, %b;", a, b);
    const auto zero = evaluate<float, float, float>(std::string(op) + ".rz.f32 %d, %a, %b;", a, b);
    size_t wrong = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const long double x = a[i], y = b[i], exact = *op == 'a' ? x + y : *op == 'm' ? x * y : x / y;
      if (std::isnan(exact) || std::isinf(exact)) continue;
      wrong +=
          !(static_cast<long double>(down[i]) <= exact && static_cast<long double>(up[i]) >= exact);
      wrong += std::isfinite(down[i]) && std::isfinite(up[i]) && up[i] != down[i] &&
               std::nextafter(down[i], INFINITY) != up[i];
      wrong += !same(zero[i], exact > 0 ? down[i] : up[i]) && exact != 0;
    }
    CAPTURE(op);
    CHECK(wrong == 0);
  }
}

}  // namespace
}  // namespace flyball::simulated_gpu

#include <algorithm>
#include <bit>

#include "tests/simulated_gpu/test_support.h"

// The host's own 16-bit floats, and its conversions, are the reference.
namespace flyball::simulated_gpu {
namespace {

float half(uint16_t bits) { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
uint16_t to_half(double v) {
  return v != v ? 0x7FFF : std::bit_cast<uint16_t>(static_cast<_Float16>(v));
}
float bfloat(uint32_t bits) { return std::bit_cast<float>(bits << 16); }
// Nearest bf16 by trying the neighbours of the truncated value; ties to even.
uint16_t to_bfloat(double v) {
  if (v != v) return 0x7FFF;
  if (std::isinf(v) || v == 0)
    return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(v)) >> 16);
  float toward_zero = static_cast<float>(v);
  if (std::fabs(static_cast<double>(toward_zero)) > std::fabs(v))
    toward_zero = std::nextafter(toward_zero, 0.0f);
  const auto low = static_cast<uint16_t>(std::bit_cast<uint32_t>(toward_zero) >> 16),
             high = static_cast<uint16_t>(low + 1);
  const double below = std::fabs(v) - std::fabs(static_cast<double>(bfloat(low)));
  const double above =
      (std::isinf(bfloat(high)) ? 0x1p128 : std::fabs(static_cast<double>(bfloat(high)))) -
      std::fabs(v);
  return below < above || (below == above && low % 2 == 0) ? low : high;
}
bool half_is_nan(uint16_t v) { return (v & 0x7FFF) > 0x7C00; }
bool bfloat_is_nan(uint16_t v) { return (v & 0x7FFF) > 0x7F80; }
uint16_t plain_half(uint16_t v) { return half_is_nan(v) ? 0x7FFF : v; }
uint16_t plain_bfloat(uint16_t v) { return bfloat_is_nan(v) ? 0x7FFF : v; }

template <class To, class From>
To saturated(From v) {
  if (v != v) return sizeof(To) == 8 ? static_cast<To>(uint64_t{1} << 63) : To(0);
  const double low = static_cast<double>(std::numeric_limits<To>::min()),
               high = std::ldexp(1.0, std::numeric_limits<To>::digits);
  if (v < low) return std::numeric_limits<To>::min();
  if (v >= high) return std::numeric_limits<To>::max();
  return static_cast<To>(v);
}

TEST_CASE("conversions: floats to integers round as told and saturate") {
  check_against<int32_t, float, float, float>("cvt.rzi.s32.f32 %d, %a;", [](float a, float, float) {
    return saturated<int32_t>(std::trunc(a));
  });
  check_against<int32_t, float, float, float>("cvt.rni.s32.f32 %d, %a;", [](float a, float, float) {
    return saturated<int32_t>(std::nearbyint(a));
  });
  check_against<uint32_t, float, float, float>(
      "cvt.rmi.u32.f32 %d, %a;",
      [](float a, float, float) { return saturated<uint32_t>(std::floor(a)); });
  check_against<int64_t, double, float, float>(
      "cvt.rpi.s64.f64 %d, %a;",
      [](double a, float, float) { return saturated<int64_t>(std::ceil(a)); });
  check_against<float, float, float, float>("cvt.rmi.f32.f32 %d, %a;",
                                            [](float a, float, float) { return std::floor(a); });
  check_against<float, float, float, float>("cvt.sat.f32.f32 %d, %a;", [](float a, float, float) {
    return a > 0 ? std::min(a, 1.0f) : 0.0f;
  });
  check_against<uint16_t, float, float, float>("cvt.rzi.u8.f32 %d, %a;", [](float a, float, float) {
    return uint16_t{saturated<uint8_t>(std::trunc(a))};
  });
}

TEST_CASE("conversions: integers to floats and to narrower integers") {
  check_against<float, int32_t, int, int>(
      "cvt.rn.f32.s32 %d, %a;", [](int32_t a, int, int) { return static_cast<float>(a); });
  check_against<float, uint64_t, int, int>(
      "cvt.rn.f32.u64 %d, %a;", [](uint64_t a, int, int) { return static_cast<float>(a); });
  check_against<double, int64_t, int, int>(
      "cvt.rn.f64.s64 %d, %a;", [](int64_t a, int, int) { return static_cast<double>(a); });
  check_against<uint16_t, int32_t, int, int>("cvt.rn.f16.s32 %d, %a;",
                                             [](int32_t a, int, int) { return to_half(a); });
  check_against<int32_t, int64_t, int, int>("cvt.sat.s32.s64 %d, %a;", [](int64_t a, int, int) {
    return static_cast<int32_t>(std::clamp<int64_t>(a, INT32_MIN, INT32_MAX));
  });
  check_against<int32_t, int32_t, int, int>(
      "cvt.s32.s8 %d, %a;", [](int32_t a, int, int) { return int32_t{static_cast<int8_t>(a)}; });
  check_against<uint16_t, uint32_t, int, int>(
      "cvt.u16.u32 %d, %a;", [](uint32_t a, int, int) { return static_cast<uint16_t>(a); });
  check_against<int64_t, int32_t, int, int>("cvt.s64.s32 %d, %a;",
                                            [](int32_t a, int, int) { return int64_t{a}; });
  check_against<float, double, int, int>("cvt.rn.f32.f64 %d, %a;",
                                         [](double a, int, int) { return static_cast<float>(a); });
}

TEST_CASE("f16 and bf16: conversions, arithmetic and fma round once") {
  check_against<uint16_t, float, float, float>("cvt.rn.f16.f32 %d, %a;",
                                               [](float a, float, float) { return to_half(a); });
  check_against<uint16_t, float, float, float>("cvt.rn.bf16.f32 %d, %a;",
                                               [](float a, float, float) { return to_bfloat(a); });
  check_against<uint32_t, float, float, float>(
      "cvt.rn.bf16x2.f32 %d, %a, %b;",
      [](float a, float b, float) { return uint32_t{to_bfloat(a)} << 16 | to_bfloat(b); });
  check_against<uint32_t, float, float, float>(
      "cvt.rn.relu.f16x2.f32 %d, %a, %b;", [](float a, float b, float) {
        const auto relu = [](float v) { return v != v ? v : v > 0 ? v : 0.0f; };
        return uint32_t{to_half(relu(a))} << 16 | to_half(relu(b));
      });
  check_against<float, uint16_t, int, int>("cvt.f32.f16 %d, %a;",
                                           [](uint16_t a, int, int) { return half(a); });
  check_against<uint32_t, float, float, float>(
      "cvt.rna.tf32.f32 %d, %a;", [](float a, float, float) {
        const uint32_t bits = std::bit_cast<uint32_t>(a);
        return std::isfinite(a) ? (bits + 0x1000) & 0xFFFFE000 : bits;
      });
  const auto plain = [](const char* op) {
    return std::string(op) + " %d, %a, %b; setp.nan.f16 %p, %d, %d; selp.b16 %d, 0x7FFF, %d, %p;";
  };
  check_against<uint16_t, uint16_t, uint16_t, uint16_t>(
      plain("add.f16"), [](uint16_t a, uint16_t b, uint16_t) {
        return plain_half(to_half(double{half(a)} + half(b)));
      });
  check_against<uint16_t, uint16_t, uint16_t, uint16_t>(
      plain("mul.rn.f16"), [](uint16_t a, uint16_t b, uint16_t) {
        return plain_half(to_half(double{half(a)} * half(b)));
      });
  check_against<uint16_t, uint16_t, uint16_t, uint16_t>(
      "fma.rn.f16 %d, %a, %b, %c; setp.nan.f16 %p, %d, %d; selp.b16 %d, 0x7FFF, %d, %p;",
      [](uint16_t a, uint16_t b, uint16_t c) {
        const auto exact =
            static_cast<__float128>(half(a)) * half(b) + half(c);  // 113 bits hold it
        double v = static_cast<double>(exact);
        if (static_cast<__float128>(v) != exact && v == v && !std::isinf(v)) {  // to odd
          uint64_t bits = std::bit_cast<uint64_t>(v);
          if (static_cast<__float128>(std::fabs(v)) > (exact < 0 ? -exact : exact)) --bits;
          v = std::bit_cast<double>(bits | 1);
        }
        return plain_half(to_half(v));
      });
  check_against<uint16_t, uint16_t, uint16_t, uint16_t>(
      "fma.rn.bf16 %d, %a, %b, %c; setp.nan.bf16 %p, %d, %d; selp.b16 %d, 0x7FFF, %d, %p;",
      [](uint16_t a, uint16_t b, uint16_t c) {
        const double product = double{bfloat(a)} * bfloat(b), sum = product + bfloat(c);
        const double error = [&] {
          const double shift = sum - product;
          return (product - (sum - shift)) + (bfloat(c) - shift);
        }();
        double v = sum;
        if (error != 0 && error == error && !std::isinf(v) && !(std::bit_cast<uint64_t>(v) & 1))
          v = (error > 0) == (v > 0) ? std::bit_cast<double>(std::bit_cast<uint64_t>(v) + 1)
                                     : std::bit_cast<double>(std::bit_cast<uint64_t>(v) - 1);
        return plain_bfloat(to_bfloat(v));
      });
  check_against<uint32_t, uint32_t, uint32_t, uint32_t>(
      "and.b32 %a, %a, 0x3FFF3FFF; and.b32 %b, %b, 0x3FFF3FFF; mul.f16x2 %d, %a, %b;",
      [](uint32_t a, uint32_t b, uint32_t) {
        const auto one = [](uint32_t x, uint32_t y) {
          return uint32_t{to_half(double{half(x & 0x3FFF)} * half(y & 0x3FFF))};
        };
        return one(a, b) | one(a >> 16, b >> 16) << 16;
      });
  check_against<uint32_t, uint32_t, uint32_t, uint32_t>(
      "neg.bf16x2 %d, %a; abs.f16x2 %d, %d;",
      [](uint32_t a, uint32_t, uint32_t) { return a & 0x7FFF7FFF; });
}

}  // namespace
}  // namespace flyball::simulated_gpu

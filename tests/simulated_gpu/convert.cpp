#include <algorithm>
#include <cfenv>
#include <cmath>

#include "tests/simulated_gpu/float_formats.h"
#include "tests/simulated_gpu/rows.h"

// cvt between all integer and floating types, with rounding and saturation.
namespace flyball::simulated_gpu {
namespace {

enum class Round : uint8_t { none, rn, rz, rm, rp, rni, rzi, rmi, rpi, rna };

// How a conversion that has no row of its own is done; packed into Instruction::offset.
struct Conversion {
  Type to, from;
  Round round;
  bool ftz, sat, relu;
  uint8_t to_width, from_width;  // of the registers
};
static_assert(sizeof(Conversion) == 8);

bool is_float(Type t) { return t >= Type::f16; }
bool is_signed(Type t) { return t >= Type::s8 && t <= Type::s64; }

uint64_t low_bits(uint64_t v, Type t) {
  return size_of(t) == 8 ? v : v & ((uint64_t{1} << 8 * size_of(t)) - 1);
}
int64_t sign_extended(uint64_t v, Type t) {
  const int shift = 64 - 8 * size_of(t);
  return static_cast<int64_t>(v << shift) >> shift;
}

double to_integral(double v, Round round) {
  switch (round) {
    case Round::rni:
      return std::nearbyint(v);
    case Round::rmi:
      return std::floor(v);
    case Round::rpi:
      return std::ceil(v);
    default:
      return std::trunc(v);
  }
}

// Rounds a double to fp32 in the given direction.
float narrowed(double v, Round round) {
  const float near = static_cast<float>(v);
  if (round == Round::rn || round == Round::none || static_cast<double>(near) == v || v != v)
    return near;
  const bool too_high = static_cast<double>(near) > v;
  const bool down = round == Round::rm || (round == Round::rz && v > 0),
             up = round == Round::rp || (round == Round::rz && v < 0);
  if (down && too_high) return std::nextafter(near, -INFINITY);
  if (up && !too_high) return std::nextafter(near, INFINITY);
  return near;
}

// Rounds to a 16-bit format whose significand holds `kept` bits fewer than fp32's.
template <class Format>
uint16_t narrowed_to_16(double v, Round round) {
  const uint16_t near = Format::store(to_odd_float(v));
  const double back = Format::load(near);
  if (round == Round::rn || round == Round::none || back == v || v != v) return near;
  const bool away = std::fabs(back) > std::fabs(v);  // from zero
  const bool to_zero =
      round == Round::rz || (round == Round::rm && v > 0) || (round == Round::rp && v < 0);
  if (to_zero && away) return static_cast<uint16_t>(near - 1);
  if (!to_zero && !away) return static_cast<uint16_t>(near + 1);
  return near;
}

double load_float(uint64_t bits, Type t) {
  switch (t) {
    case Type::f16:
      return half_to_float(static_cast<uint16_t>(bits));
    case Type::bf16:
      return bfloat_to_float(static_cast<uint16_t>(bits));
    case Type::f64:
      return std::bit_cast<double>(bits);
    default:
      return std::bit_cast<float>(static_cast<uint32_t>(bits));
  }
}

uint64_t store_float(double v, const Conversion& c) {
  if (c.sat) v = saturate01(v);
  if (c.relu) v = v != v ? v : v > 0 ? v : 0;
  switch (c.to) {
    case Type::f16:
    case Type::f16x2:
      return narrowed_to_16<Half>(v, c.round);
    case Type::bf16:
    case Type::bf16x2:
      return narrowed_to_16<Bfloat>(v, c.round);
    case Type::f64:
      return std::bit_cast<uint64_t>(v);
    case Type::tf32: {  // ties away from zero (rna) or to even (rn), 13 bits dropped
      const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(v));
      if ((bits & 0x7F800000) == 0x7F800000) return bits;
      const uint32_t add = c.round == Round::rna ? 0x1000 : 0x0FFF + (bits >> 13 & 1);
      return (bits + add) & ~0x1FFFu;
    }
    default: {
      float r = narrowed(v, c.round);
      if (c.ftz) r = flush(r);
      return std::bit_cast<uint32_t>(r);
    }
  }
}

uint64_t float_to_integer(double v, const Conversion& c) {
  const int bits = 8 * size_of(c.to);
  if (v != v) return size_of(c.to) == 8 ? uint64_t{1} << 63 : 0;
  v = to_integral(v, c.round);
  if (is_signed(c.to)) {
    const double bound = std::ldexp(1.0, bits - 1);
    if (v >= bound) return (uint64_t{1} << (bits - 1)) - 1;
    if (v < -bound) return -(uint64_t{1} << (bits - 1));
    return static_cast<uint64_t>(static_cast<int64_t>(v));
  }
  if (v <= 0) return 0;
  if (v >= std::ldexp(1.0, bits)) return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  return static_cast<uint64_t>(v);
}

uint64_t integer_to_float(uint64_t bits, const Conversion& c) {
  const bool negative = is_signed(c.from) && sign_extended(bits, c.from) < 0;
  const uint64_t magnitude =
      negative ? -static_cast<uint64_t>(sign_extended(bits, c.from)) : low_bits(bits, c.from);
  if (c.to == Type::f64 || c.to == Type::f32) {
    const int modes[] = {FE_TONEAREST, FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    std::fesetround(modes[std::min<size_t>(static_cast<size_t>(c.round), 4)]);
    volatile int64_t s = static_cast<int64_t>(bits);
    volatile uint64_t u = magnitude;
    volatile double wide = 0;
    volatile float narrow = 0;
    if (negative) {
      s = sign_extended(bits, c.from);
      if (c.to == Type::f64)
        wide = static_cast<double>(s);
      else
        narrow = static_cast<float>(s);
    } else if (c.to == Type::f64) {
      wide = static_cast<double>(u);
    } else {
      narrow = static_cast<float>(u);
    }
    std::fesetround(FE_TONEAREST);
    return c.to == Type::f64 ? std::bit_cast<uint64_t>(double{wide})
                             : std::bit_cast<uint32_t>(float{narrow});
  }
  // A 64-bit integer is rounded to odd on its way to 16 bits.
  const int shift = std::max(0, 14 - std::countl_zero(magnitude | 1));
  const uint64_t kept = (magnitude >> shift) | ((magnitude & ((uint64_t{1} << shift) - 1)) != 0);
  const double v = std::ldexp(static_cast<double>(kept), shift);
  return store_float(negative ? -v : v, c);
}

uint64_t integer_to_integer(uint64_t bits, const Conversion& c) {
  if (!c.sat)
    return is_signed(c.from) ? static_cast<uint64_t>(sign_extended(bits, c.from))
                             : low_bits(bits, c.from);
  const int to_bits = 8 * size_of(c.to);
  const __int128 v = is_signed(c.from) ? __int128{sign_extended(bits, c.from)}
                                       : static_cast<__int128>(low_bits(bits, c.from));
  const __int128 one = 1;
  const __int128 high = is_signed(c.to) ? (one << (to_bits - 1)) - 1 : (one << to_bits) - 1;
  const __int128 low = is_signed(c.to) ? -(one << (to_bits - 1)) : __int128{0};
  return static_cast<uint64_t>(v < low ? low : v > high ? high : v);
}

uint64_t converted(uint64_t bits, const Conversion& c) {
  uint64_t r;
  if (is_float(c.from)) {
    double v = load_float(bits, c.from);
    if (c.ftz && c.from == Type::f32) v = flush(static_cast<float>(v));
    if (!is_float(c.to)) {
      r = float_to_integer(v, c);
    } else {
      if (c.round >= Round::rni && c.round <= Round::rpi) v = to_integral(v, c.round);
      r = store_float(v, c);
    }
  } else {
    r = is_float(c.to) ? integer_to_float(bits, c) : integer_to_integer(bits, c);
  }
  // A register wider than the type is filled by extension.
  return is_signed(c.to) ? static_cast<uint64_t>(sign_extended(r, c.to)) : low_bits(r, c.to);
}

void convert(Warp& w, const Instruction& in, uint32_t mask) {
  const auto c = std::bit_cast<Conversion>(in.offset);
  for_active(mask, [&](int l) {
    write_lane(w, in.d, c.to_width, l, converted(read_lane(w, in.a, c.from_width, l), c));
  });
}
// cvt.rn.f16x2.f32 d, a, b: a in the high half, b in the low one.
void convert_pair(Warp& w, const Instruction& in, uint32_t mask) {
  const auto c = std::bit_cast<Conversion>(in.offset);
  uint32_t* d = w.row<uint32_t>(in.d);
  const float *a = w.row<float>(in.a), *b = w.row<float>(in.b);
  for_active(mask, [&](int l) {
    const auto half = [&](float v) {
      return static_cast<uint32_t>(store_float(c.ftz ? flush(v) : v, c)) & 0xFFFF;
    };
    d[l] = half(a[l]) << 16 | half(b[l]);
  });
}

// The conversions kernels are full of.
const Table& table() {
  static const Table& instance = *[] {
    auto* table = new Table;
    Table& t = *table;
    t["cvt.s64.s32"] = t["cvt.u64.s32"] = unary<int64_t, int32_t, [](int32_t a) { return a; }>();
    t["cvt.u64.u32"] = t["cvt.s64.u32"] = unary<uint64_t, uint32_t, [](uint32_t a) { return a; }>();
    t["cvt.u32.u64"] = t["cvt.s32.s64"] = t["cvt.u32.s64"] = t["cvt.s32.u64"] =
        unary<uint32_t, uint64_t, [](uint64_t a) { return a; }>();
    t["cvt.rn.f32.s32"] = unary<float, int32_t, [](int32_t a) { return static_cast<float>(a); }>();
    t["cvt.rn.f64.s32"] = unary<double, int32_t, [](int32_t a) { return a; }>();
    t["cvt.rn.f64.u32"] = unary<double, uint32_t, [](uint32_t a) { return a; }>();
    t["cvt.f64.f32"] = unary<double, float, [](float a) { return a; }>();
    t["cvt.rn.f32.f64"] = unary<float, double, [](double a) { return static_cast<float>(a); }>();
    t["cvt.f32.f16"] = unary<float, uint16_t, half_to_float>();
    t["cvt.rn.f16.f32"] = unary<uint16_t, float, float_to_half>();
    t["cvt.f32.bf16"] = unary<float, uint16_t, bfloat_to_float>();
    t["cvt.rn.bf16.f32"] = unary<uint16_t, float, float_to_bfloat>();
    t["cvt.rn.bf16x2.f32"] = binary<uint32_t, float, float, [](float a, float b) {
      return uint32_t{float_to_bfloat(a)} << 16 | float_to_bfloat(b);
    }>();
    t["cvt.rn.f16x2.f32"] = binary<uint32_t, float, float, [](float a, float b) {
      return uint32_t{float_to_half(a)} << 16 | float_to_half(b);
    }>();
    t["cvt.rna.tf32.f32"] = unary<uint32_t, uint32_t, [](uint32_t a) {
      return (a & 0x7F800000) == 0x7F800000 ? a : (a + 0x1000) & ~0x1FFFu;
    }>();
    return table;
  }();
  return instance;
}

bool parse(const std::vector<std::string_view>& parts, Conversion& c) {
  static constexpr std::pair<std::string_view, Round> rounds[] = {
      {"rn", Round::rn},   {"rz", Round::rz},   {"rm", Round::rm},
      {"rp", Round::rp},   {"rni", Round::rni}, {"rzi", Round::rzi},
      {"rmi", Round::rmi}, {"rpi", Round::rpi}, {"rna", Round::rna}};
  c.to = type_of(parts[parts.size() - 2]);
  c.from = type_of(parts.back());
  if (c.to == Type::none || c.from == Type::none || c.to == Type::pred || c.from == Type::pred)
    return false;
  if (c.from == Type::tf32 || c.from == Type::f16x2 || c.from == Type::bf16x2) return false;
  if (c.to == Type::tf32 && c.from != Type::f32) return false;
  for (size_t i = 1; i + 2 < parts.size(); ++i) {
    bool known = false;
    for (const auto& [name, round] : rounds)
      if (name == parts[i]) {
        c.round = round;
        known = true;
      }
    if (parts[i] == "ftz")
      c.ftz = known = true;
    else if (parts[i] == "sat")
      c.sat = known = true;
    else if (parts[i] == "relu")
      c.relu = known = true;
    if (!known) return false;
  }
  return true;
}

bool same_widths(Decoder& d) {
  const auto found = table().find(d.statement().opcode);
  if (found == table().end()) return false;
  const auto fits = [&](size_t i, int width) {
    const Operand& o = d.operand(i);
    return o.kind != Operand::Kind::reg || d.width_of(o) == width;
  };
  return fits(0, found->second.d) && fits(1, found->second.a);
}

}  // namespace

bool decode_convert(Decoder& d) {
  const auto parts = d.statement().parts();
  if (parts[0] != "cvt" || parts.size() < 3) return false;
  if (same_widths(d)) return d.from_table(table());
  Conversion c{};
  if (!parse(parts, c)) return false;
  if (c.to == Type::f16x2 || c.to == Type::bf16x2) {
    if (c.from != Type::f32 || d.statement().operands.size() != 3) return false;
    Draft& draft = d.add(convert_pair, Control::masked);
    d.source(Field::a, d.operand(1), 4);
    d.source(Field::b, d.operand(2), 4);
    d.destination(Field::d, d.operand(0), 4);
    draft.in.offset = std::bit_cast<int64_t>(c);
    return true;
  }
  d.add(convert, Control::masked);
  const int from_width = std::max(2, size_of(c.from));
  c.from_width = static_cast<uint8_t>(
      d.source(Field::a, d.operand(1), d.operand(1).kind == Operand::Kind::reg ? 0 : from_width));
  c.to_width = static_cast<uint8_t>(d.destination(Field::d, d.operand(0), 0));
  if (c.to_width < size_of(c.to) || c.from_width < size_of(c.from))
    d.fail("a register is narrower than its type");
  d.in().offset = std::bit_cast<int64_t>(c);
  return true;
}

}  // namespace flyball::simulated_gpu

#include <array>
#include <cmath>
#include <type_traits>

#include "tests/simulated_gpu/float_formats.h"
#include "tests/simulated_gpu/rows.h"

// setp set selp slct testp.
namespace flyball::simulated_gpu {
namespace {

enum class Relation : uint8_t { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
constexpr std::array<std::string_view, 14> kRelations = {
    "eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

template <Relation relation, class T>
bool holds(T a, T b) {
  switch (relation) {
    case Relation::eq:
      return a == b;
    case Relation::ne:
      return a < b || a > b;  // ordered; the same as != for integers
    case Relation::lt:
      return a < b;
    case Relation::le:
      return a <= b;
    case Relation::gt:
      return a > b;
    case Relation::ge:
      return a >= b;
    case Relation::equ:
      return !(a < b || a > b);
    case Relation::neu:
      return !(a == b);
    case Relation::ltu:
      return !(a >= b);
    case Relation::leu:
      return !(a > b);
    case Relation::gtu:
      return !(a <= b);
    case Relation::geu:
      return !(a < b);
    case Relation::num:
      return a == a && b == b;
    case Relation::nan:
      return a != a || b != b;
  }
}

struct PlainValue {
  template <class T>
  static T load(T v) {
    return v;
  }
};

template <Relation relation, class T, class Format>
uint32_t compare_row(const Warp& w, const Instruction& in) {
  const T *a = w.row<T>(in.a), *b = w.row<T>(in.b);
  alignas(64) uint32_t all[32];
  FOR_LANES all[l] = holds<relation>(Format::load(a[l]), Format::load(b[l])) ? ~0u : 0u;
  return mask_of_row(all);
}

// Instruction::flags of setp and set: 0 alone, 1 and, 2 or, 3 xor with a predicate; 4: that
// predicate is negated.
uint32_t combined(const Warp& w, const Instruction& in, uint32_t r) {
  if (!in.flags) return r;
  const uint32_t c = w.predicates[in.target] ^ ((in.flags & 4) ? ~0u : 0);
  return (in.flags & 3) == 1 ? r & c : (in.flags & 3) == 2 ? r | c : r ^ c;
}

template <Relation relation, class T, class Format>
void setp(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t r = compare_row<relation, T, Format>(w, in);
  if (in.d != kNone) {
    uint32_t& d = w.predicates[in.d];
    d = (d & ~mask) | (combined(w, in, r) & mask);
  }
  if (in.c != kNone) {  // p|q: q is the opposite
    uint32_t& q = w.predicates[in.c];
    q = (q & ~mask) | (combined(w, in, ~r) & mask);
  }
}

// d = the comparison as a number: all ones, or 1.0. offset holds the bits, width those of d.
template <Relation relation, class T, class Format>
void set(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t r = combined(w, in, compare_row<relation, T, Format>(w, in));
  for_active(mask, [&](int l) {
    const auto v = static_cast<uint32_t>((r >> l & 1) ? in.offset : 0);
    if (in.width == 2)
      w.row<uint16_t>(in.d)[l] = static_cast<uint16_t>(v);
    else
      w.row<uint32_t>(in.d)[l] = v;
  });
}

// f16x2 and bf16x2: flags bit 7 tells set (d, two halves) from setp (d low half, c high half).
template <Relation relation, class Format>
void compare_pairs(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t *a = w.row<uint32_t>(in.a), *b = w.row<uint32_t>(in.b);
  for_active(mask, [&](int l) {
    const bool low = holds<relation>(Format::load(static_cast<uint16_t>(a[l])),
                                     Format::load(static_cast<uint16_t>(b[l])));
    const bool high = holds<relation>(Format::load(static_cast<uint16_t>(a[l] >> 16)),
                                      Format::load(static_cast<uint16_t>(b[l] >> 16)));
    if (in.flags & 0x80) {
      const auto one = static_cast<uint32_t>(in.offset);
      w.row<uint32_t>(in.d)[l] = (low ? one & 0xFFFF : 0) | (high ? one & 0xFFFF0000 : 0);
      return;
    }
    const auto put = [&](uint32_t number, bool v) {
      if (number != kNone)
        w.predicates[number] = (w.predicates[number] & ~(1u << l)) | uint32_t{v} << l;
    };
    put(in.d, low);
    put(in.c, high);
  });
}

template <template <Relation> class Make, size_t... i>
Handler pick(Relation relation, std::index_sequence<i...>) {
  constexpr std::array<Handler, sizeof...(i)> handlers = {
      Make<static_cast<Relation>(i)>::handler...};
  return handlers[static_cast<size_t>(relation)];
}
template <class T, class Format, bool number>
struct Maker {
  template <Relation relation>
  struct Make {
    static constexpr Handler handler =
        number ? set<relation, T, Format> : setp<relation, T, Format>;
  };
};
template <class Format>
struct PairMaker {
  template <Relation relation>
  struct Make {
    static constexpr Handler handler = compare_pairs<relation, Format>;
  };
};

template <bool number>
Handler handler_of(Type type, Relation relation) {
  using All = std::make_index_sequence<14>;
  using Whole = std::make_index_sequence<6>;
  if (size_t(relation) >= 6 && type < Type::f16) return nullptr;
  switch (type) {
    case Type::s16:
      return pick<Maker<int16_t, PlainValue, number>::template Make>(relation, Whole());
    case Type::u16:
    case Type::b16:
      return pick<Maker<uint16_t, PlainValue, number>::template Make>(relation, Whole());
    case Type::s32:
      return pick<Maker<int32_t, PlainValue, number>::template Make>(relation, Whole());
    case Type::u32:
    case Type::b32:
      return pick<Maker<uint32_t, PlainValue, number>::template Make>(relation, Whole());
    case Type::s64:
      return pick<Maker<int64_t, PlainValue, number>::template Make>(relation, Whole());
    case Type::u64:
    case Type::b64:
      return pick<Maker<uint64_t, PlainValue, number>::template Make>(relation, Whole());
    case Type::f32:
      return pick<Maker<float, PlainValue, number>::template Make>(relation, All());
    case Type::f64:
      return pick<Maker<double, PlainValue, number>::template Make>(relation, All());
    case Type::f16:
      return pick<Maker<uint16_t, Half, number>::template Make>(relation, All());
    case Type::bf16:
      return pick<Maker<uint16_t, Bfloat, number>::template Make>(relation, All());
    case Type::f16x2:
      return pick<PairMaker<Half>::template Make>(relation, All());
    case Type::bf16x2:
      return pick<PairMaker<Bfloat>::template Make>(relation, All());
    default:
      return nullptr;
  }
}

struct FlushedValue {
  static float load(float v) { return flush(v); }
};

bool decode_comparison(Decoder& d) {
  const auto parts = d.statement().parts();
  const bool number = parts[0] == "set";
  if (parts.size() < 3 || (!number && parts[0] != "setp")) return false;
  const size_t types = number ? 2 : 1;
  const Type type = type_of(parts.back());
  uint8_t flags = 0;
  bool ftz = false;
  for (size_t i = 2; i + types < parts.size(); ++i) {
    if (parts[i] == "and")
      flags = 1;
    else if (parts[i] == "or")
      flags = 2;
    else if (parts[i] == "xor")
      flags = 3;
    else if (parts[i] == "ftz")
      ftz = true;
    else
      return false;
  }
  std::string_view name = parts[1];
  if (name == "lo") name = "lt";
  if (name == "ls") name = "le";
  if (name == "hi") name = "gt";
  if (name == "hs") name = "ge";
  size_t index = 0;
  while (index < kRelations.size() && kRelations[index] != name) ++index;
  if (index == kRelations.size()) return false;
  const auto relation = static_cast<Relation>(index);
  Handler handler = number ? handler_of<true>(type, relation) : handler_of<false>(type, relation);
  if (ftz && type == Type::f32)
    handler = number ? pick<Maker<float, FlushedValue, true>::Make>(relation,
                                                                    std::make_index_sequence<14>())
                     : pick<Maker<float, FlushedValue, false>::Make>(
                           relation, std::make_index_sequence<14>());
  else if (ftz && size_of(type) == 8)
    return false;
  if (!handler) return false;
  const bool pairs = type == Type::f16x2 || type == Type::bf16x2;
  if (pairs && flags) return false;
  Instruction& in = d.add(handler, Control::masked).in;
  const int width = size_of(type);
  d.source(Field::a, d.operand(1), width);
  d.source(Field::b, d.operand(2), width);
  if (flags) {
    const Operand& c = d.operand(3);
    in.target = d.predicate(c);
    if (c.negated) flags |= 4;
  }
  in.flags = flags;
  if (number) {
    const Type to = type_of(parts[parts.size() - 2]);
    in.width = static_cast<uint8_t>(size_of(to));
    switch (to) {
      case Type::f32:
        in.offset = 0x3F800000;
        break;
      case Type::u32:
      case Type::s32:
        in.offset = 0xFFFFFFFF;
        break;
      case Type::u16:
      case Type::s16:
        in.offset = 0xFFFF;
        break;
      case Type::f16:
        in.offset = 0x3C00;
        break;
      case Type::bf16:
        in.offset = 0x3F80;
        break;
      case Type::f16x2:
        in.offset = 0x3C003C00;
        break;
      case Type::bf16x2:
        in.offset = 0x3F803F80;
        break;
      default:
        d.fail("a result of this type is not covered");
    }
    if (pairs) in.flags |= 0x80;
    d.destination(Field::d, d.operand(0), in.width);
    return true;
  }
  const Operand& result = d.operand(0);
  const bool pair = result.kind == Operand::Kind::pair;
  const auto number_of = [&](const Operand& o) {
    return o.kind == Operand::Kind::sink ? kNone : d.predicate(o);
  };
  in.d = number_of(pair ? result.list[0] : result);
  in.c = pair ? number_of(result.list[1]) : kNone;
  return true;
}

template <class T>
void select(Warp& w, const Instruction& in, uint32_t) {
  T* d = w.row<T>(in.d);
  const T *a = w.row<T>(in.a), *b = w.row<T>(in.b);
  const uint32_t p = w.predicates[in.c] ^ (in.flags ? ~0u : 0);
  FOR_LANES d[l] = (p >> l & 1) ? a[l] : b[l];
}

template <class T, class C>
void select_by_sign(Warp& w, const Instruction& in, uint32_t) {
  T* d = w.row<T>(in.d);
  const T *a = w.row<T>(in.a), *b = w.row<T>(in.b);
  const C* c = w.row<C>(in.c);
  FOR_LANES d[l] = c[l] >= 0 ? a[l] : b[l];
}

bool decode_select(Decoder& d) {
  const auto parts = d.statement().parts();
  const bool by_predicate = parts[0] == "selp" && parts.size() == 2,
             by_sign = parts[0] == "slct" && parts.size() == 3;
  if (!by_predicate && !by_sign) return false;
  const int width = size_of(type_of(parts[1]));
  if (type_of(parts[1]) == Type::none || width < 2) return false;
  Handler handler = width == 2   ? select<uint16_t>
                    : width == 4 ? select<uint32_t>
                                 : select<uint64_t>;
  if (by_sign) {
    const bool real = parts[2] == "f32";
    if (!real && parts[2] != "s32") return false;
    handler =
        width == 2   ? (real ? select_by_sign<uint16_t, float> : select_by_sign<uint16_t, int32_t>)
        : width == 4 ? (real ? select_by_sign<uint32_t, float> : select_by_sign<uint32_t, int32_t>)
                     : (real ? select_by_sign<uint64_t, float> : select_by_sign<uint64_t, int32_t>);
  }
  d.add(handler, Control::row).in.width = static_cast<uint8_t>(width);
  d.source(Field::a, d.operand(1), width);
  d.source(Field::b, d.operand(2), width);
  if (by_sign) {
    d.source(Field::c, d.operand(3), 4);
  } else {
    d.in().c = d.predicate(d.operand(3));
    d.in().flags = d.operand(3).negated;
  }
  d.destination(Field::d, d.operand(0), width);
  return true;
}

template <class T>
void test_property(Warp& w, const Instruction& in, uint32_t mask) {
  const T* a = w.row<T>(in.a);
  uint32_t r = 0;
  for (int l = 0; l < 32; ++l) {
    const int kind = std::fpclassify(a[l]);
    const bool yes = in.flags == 0   ? kind != FP_NAN && kind != FP_INFINITE
                     : in.flags == 1 ? kind == FP_INFINITE
                     : in.flags == 2 ? kind != FP_NAN
                     : in.flags == 3 ? kind == FP_NAN
                     : in.flags == 4 ? kind == FP_NORMAL
                                     : kind == FP_SUBNORMAL;
    r |= uint32_t{yes} << l;
  }
  uint32_t& d = w.predicates[in.d];
  d = (d & ~mask) | (r & mask);
}

bool decode_test(Decoder& d) {
  const auto parts = d.statement().parts();
  if (parts[0] != "testp" || parts.size() != 3) return false;
  constexpr std::array<std::string_view, 6> names = {"finite",     "infinite", "number",
                                                     "notanumber", "normal",   "subnormal"};
  size_t index = 0;
  while (index < names.size() && names[index] != parts[1]) ++index;
  if (index == names.size()) return false;
  const bool wide = parts[2] == "f64";
  Instruction& in = d.add(wide ? test_property<double> : test_property<float>, Control::masked).in;
  in.flags = static_cast<uint8_t>(index);
  in.d = d.predicate(d.operand(0));
  d.source(Field::a, d.operand(1), wide ? 8 : 4);
  return true;
}

}  // namespace

bool decode_compare(Decoder& d) {
  return decode_comparison(d) || decode_select(d) || decode_test(d);
}

}  // namespace flyball::simulated_gpu

#include <algorithm>
#include <array>
#include <type_traits>

#include "tests/simulated_gpu/rows.h"

// and or xor not cnot shl shr lop3 shf prmt bfe bfi bfind popc clz brev, and logic on predicates.
namespace flyball::simulated_gpu {
namespace {

template <class T>
constexpr unsigned kBits = 8 * sizeof(T);

template <class T>
void add_width(Table& t, const std::string& bits) {
  using S = std::make_signed_t<T>;
  for (const char* kind : {"b", "u", "s"}) {
    t["and." + (kind + bits)] = binary<T, [](T a, T b) { return static_cast<T>(a & b); }>();
    t["or." + (kind + bits)] = binary<T, [](T a, T b) { return static_cast<T>(a | b); }>();
    t["xor." + (kind + bits)] = binary<T, [](T a, T b) { return static_cast<T>(a ^ b); }>();
    t["not." + (kind + bits)] = unary<T, T, [](T a) { return static_cast<T>(~a); }>();
  }
  t["cnot.b" + bits] = unary<T, T, [](T a) { return static_cast<T>(a == 0); }>();
  const Entry left = binary<T, T, uint32_t, [](T a, uint32_t n) {
    return n >= kBits<T> ? T(0) : static_cast<T>(a << (n & (kBits<T> - 1)));
  }>();
  const Entry right = binary<T, T, uint32_t, [](T a, uint32_t n) {
    return n >= kBits<T> ? T(0) : static_cast<T>(a >> (n & (kBits<T> - 1)));
  }>();
  t["shl.b" + bits] = left;
  t["shr.b" + bits] = t["shr.u" + bits] = right;
  t["shr.s" + bits] = binary<S, S, uint32_t, [](S a, uint32_t n) {
    return static_cast<S>(a >> std::min(n, kBits<T> - 1));
  }>();
}

template <class T>
T extract(T a, uint32_t position, uint32_t length) {  // bfe: sign-extended for signed T
  using U = std::make_unsigned_t<T>;
  position &= 255;
  length &= 255;
  if (length == 0) return 0;
  const uint32_t top = std::min(position + length - 1, kBits<T> - 1);
  const bool sign = std::is_signed_v<T> && (static_cast<U>(a) >> top & 1);
  U v = position >= kBits<T> ? U(0) : static_cast<U>(a) >> position;
  const uint32_t kept = position >= kBits<T> ? 0 : std::min(length, kBits<T> - position);
  if (kept < kBits<T>) {
    const U low = (U(1) << kept) - 1;
    v = sign ? (v | ~low) : (v & low);
  }
  return static_cast<T>(v);
}
template <class T>
T insert(T a, T b, uint32_t position, uint32_t length) {  // bfi: a's low bits into b
  position &= 255;
  length &= 255;
  if (position >= kBits<T> || length == 0) return b;
  const T ones = length >= kBits<T> ? ~T(0) : (T(1) << length) - 1;
  return (b & ~(ones << position)) | (a & ones) << position;
}
template <class T>
uint32_t highest(T a, bool shift_amount) {  // bfind
  using U = std::make_unsigned_t<T>;
  const U v = a < 0 ? static_cast<U>(~a) : static_cast<U>(a);
  if (v == 0) return ~0u;
  const auto at = kBits<T> - 1 - static_cast<uint32_t>(std::countl_zero(v));
  return shift_amount ? kBits<T> - 1 - at : at;
}
template <class T>
T reversed(T a) {
  T r = 0;
  for (unsigned i = 0; i < kBits<T>; ++i) r |= (a >> i & 1) << (kBits<T> - 1 - i);
  return r;
}
uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {  // prmt
  const uint64_t bytes = a | uint64_t{b} << 32;
  uint32_t r = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t pick = selector >> 4 * i & 15;
    uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (pick & 7) & 0xFF);
    if (pick & 8) byte = byte & 0x80 ? 0xFF : 0;
    r |= byte << 8 * i;
  }
  return r;
}

template <class T>
void insert_row(Warp& w, const Instruction& in, uint32_t) {
  T* d = w.row<T>(in.d);
  const T *a = w.row<T>(in.a), *b = w.row<T>(in.b);
  const uint32_t* c = w.row<uint32_t>(in.c);
  const uint32_t* length = w.row<uint32_t>(w.block->launch.program.extras[in.extra]);
  FOR_LANES d[l] = insert(a[l], b[l], c[l], length[l]);
}

// d = any function of three bits, given as a table of eight: index a * 4 + b * 2 + c.
void lop3_row(Warp& w, const Instruction& in, uint32_t) {
  uint32_t* d = w.row<uint32_t>(in.d);
  const uint32_t *a = w.row<uint32_t>(in.a), *b = w.row<uint32_t>(in.b), *c = w.row<uint32_t>(in.c);
  std::array<uint32_t, 8> t;
  for (size_t i = 0; i < 8; ++i) t[i] = (in.flags >> i & 1) ? ~0u : 0;
  FOR_LANES {
    const uint32_t x = a[l], y = b[l], z = c[l];
    d[l] = (~x & ((~y & ((~z & t[0]) | (z & t[1]))) | (y & ((~z & t[2]) | (z & t[3]))))) |
           (x & ((~y & ((~z & t[4]) | (z & t[5]))) | (y & ((~z & t[6]) | (z & t[7])))));
  }
}

const Table& table() {
  static const Table& instance = *[] {
    auto* table = new Table;
    Table& t = *table;
    add_width<uint16_t>(t, "16");
    add_width<uint32_t>(t, "32");
    add_width<uint64_t>(t, "64");
    t["popc.b32"] = unary<uint32_t, uint32_t, [](uint32_t a) { return std::popcount(a); }>();
    t["popc.b64"] = unary<uint32_t, uint64_t, [](uint64_t a) { return std::popcount(a); }>();
    t["clz.b32"] = unary<uint32_t, uint32_t, [](uint32_t a) { return std::countl_zero(a); }>();
    t["clz.b64"] = unary<uint32_t, uint64_t, [](uint64_t a) { return std::countl_zero(a); }>();
    t["brev.b32"] = unary<uint32_t, uint32_t, reversed<uint32_t>>();
    t["brev.b64"] = unary<uint64_t, uint64_t, reversed<uint64_t>>();
    t["bfind.u32"] =
        unary<uint32_t, uint32_t, [](uint32_t a) { return a ? 31 - std::countl_zero(a) : -1; }>();
    t["bfind.u64"] =
        unary<uint32_t, uint64_t, [](uint64_t a) { return a ? 63 - std::countl_zero(a) : -1; }>();
    t["bfind.s32"] = unary<uint32_t, int32_t, [](int32_t a) { return highest(a, false); }>();
    t["bfind.s64"] = unary<uint32_t, int64_t, [](int64_t a) { return highest(a, false); }>();
    t["bfind.shiftamt.u32"] =
        unary<uint32_t, uint32_t, [](uint32_t a) { return a ? std::countl_zero(a) : -1; }>();
    t["bfind.shiftamt.u64"] =
        unary<uint32_t, uint64_t, [](uint64_t a) { return a ? std::countl_zero(a) : -1; }>();
    t["bfind.shiftamt.s32"] =
        unary<uint32_t, int32_t, [](int32_t a) { return highest(a, true); }>();
    t["bfind.shiftamt.s64"] =
        unary<uint32_t, int64_t, [](int64_t a) { return highest(a, true); }>();
    t["bfe.u32"] = ternary<uint32_t, uint32_t, uint32_t, uint32_t, extract<uint32_t>>();
    t["bfe.s32"] = ternary<int32_t, int32_t, uint32_t, uint32_t, extract<int32_t>>();
    t["bfe.u64"] = ternary<uint64_t, uint64_t, uint32_t, uint32_t, extract<uint64_t>>();
    t["bfe.s64"] = ternary<int64_t, int64_t, uint32_t, uint32_t, extract<int64_t>>();
    t["prmt.b32"] = ternary<uint32_t, permuted>();
    t["bmsk.clamp.b32"] = binary<uint32_t, [](uint32_t position, uint32_t length) {
      return insert<uint32_t>(~0u, 0, std::min(position, 255u), std::min(length, 255u));
    }>();
    t["bmsk.wrap.b32"] = binary<uint32_t, [](uint32_t position, uint32_t length) {
      return insert<uint32_t>(~0u, 0, position & 31, length & 31);
    }>();
    t["shf.l.wrap.b32"] = ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t n) {
      return static_cast<uint32_t>((a | uint64_t{b} << 32) << (n & 31) >> 32);
    }>();
    t["shf.r.wrap.b32"] = ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t n) {
      return static_cast<uint32_t>((a | uint64_t{b} << 32) >> (n & 31));
    }>();
    t["shf.l.clamp.b32"] = ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t n) {
      return n >= 32 ? a : static_cast<uint32_t>((a | uint64_t{b} << 32) << n >> 32);
    }>();
    t["shf.r.clamp.b32"] = ternary<uint32_t, [](uint32_t a, uint32_t b, uint32_t n) {
      return static_cast<uint32_t>((a | uint64_t{b} << 32) >> std::min(n, 32u));
    }>();
    return table;
  }();
  return instance;
}

enum class Logic { and_, or_, xor_, not_, move, set };

// Predicates: d = a op b, a and b each flipped by bits 0 and 1 of flags.
template <Logic logic>
void predicate_logic(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t a = w.predicates[in.a] ^ ((in.flags & 1) ? ~0u : 0),
                 b = w.predicates[in.b] ^ ((in.flags & 2) ? ~0u : 0);
  uint32_t r = 0;
  switch (logic) {
    case Logic::and_:
      r = a & b;
      break;
    case Logic::or_:
      r = a | b;
      break;
    case Logic::xor_:
      r = a ^ b;
      break;
    case Logic::not_:
      r = ~a;
      break;
    case Logic::move:
      r = a;
      break;
    case Logic::set:
      r = in.c ? ~0u : 0;
      break;
  }
  uint32_t& d = w.predicates[in.d];
  d = (d & ~mask) | (r & mask);
}

bool decode_predicate_logic(Decoder& d) {
  const std::string_view op = d.statement().opcode;
  const bool binary = op == "and.pred" || op == "or.pred" || op == "xor.pred";
  if (!binary && op != "not.pred" && op != "mov.pred") return false;
  const Operand& first = d.operand(1);
  Handler handler = op == "and.pred"   ? predicate_logic<Logic::and_>
                    : op == "or.pred"  ? predicate_logic<Logic::or_>
                    : op == "xor.pred" ? predicate_logic<Logic::xor_>
                    : op == "not.pred" ? predicate_logic<Logic::not_>
                                       : predicate_logic<Logic::move>;
  if (first.kind == Operand::Kind::immediate && op == "mov.pred")
    handler = predicate_logic<Logic::set>;
  Instruction& in = d.add(handler, Control::masked).in;
  in.d = d.predicate(d.operand(0));
  if (first.kind == Operand::Kind::immediate) {
    if (op != "mov.pred") d.fail("a constant predicate");
    in.c = first.value != 0;
    return true;
  }
  in.a = d.predicate(first);
  in.flags = first.negated ? 1 : 0;
  if (binary) {
    in.b = d.predicate(d.operand(2));
    if (d.operand(2).negated) in.flags |= 2;
  }
  return true;
}

}  // namespace

bool decode_bits(Decoder& d) {
  const std::string_view op = d.statement().opcode;
  if (op == "lop3.b32") {
    d.add(lop3_row, Control::row).in.width = 4;
    if (d.operand(4).kind != Operand::Kind::immediate) d.fail("the table must be a constant");
    d.in().flags = static_cast<uint8_t>(d.operand(4).value);
    d.source(Field::a, d.operand(1), 4);
    d.source(Field::b, d.operand(2), 4);
    d.source(Field::c, d.operand(3), 4);
    d.destination(Field::d, d.operand(0), 4);
    return true;
  }
  if (op == "bfi.b32" || op == "bfi.b64") {
    const int width = op == "bfi.b32" ? 4 : 8;
    d.add(width == 4 ? insert_row<uint32_t> : insert_row<uint64_t>, Control::row).in.width =
        static_cast<uint8_t>(width);
    d.source(Field::a, d.operand(1), width);
    d.source(Field::b, d.operand(2), width);
    d.source(Field::c, d.operand(3), 4);
    d.source(Field::extra, d.operand(4), 4);
    d.destination(Field::d, d.operand(0), width);
    return true;
  }
  return decode_predicate_logic(d) || d.from_table(table());
}

}  // namespace flyball::simulated_gpu

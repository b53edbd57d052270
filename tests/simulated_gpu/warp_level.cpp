#include <algorithm>

#include "tests/simulated_gpu/observer.h"
#include "tests/simulated_gpu/rows.h"

// shfl vote match redux activemask elect bar.warp.sync: the lanes named must all be here.
namespace flyball::simulated_gpu {
namespace {

// extra: the row of the member mask. Faults if lanes named in it, and alive, are not active.
uint32_t members(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t* row = w.row<uint32_t>(w.block->launch.program.extras[in.extra]);
  uint32_t all = 0;
  for_active(mask, [&](int l) {
    if (!(row[l] >> l & 1))
      w.fault(in, l, "the lane is not named in the mask of its own warp operation");
    all |= row[l];
  });
  const uint32_t wanted = all & w.exists;
  if ((wanted & mask) != wanted) {
    char text[160];
    std::snprintf(text, sizeof text,
                  "lanes are missing at a warp operation: mask %08x, here %08x%s", wanted, mask,
                  (wanted & ~mask & w.dead) ? " (some have exited)" : "");
    w.fault(in, std::countr_zero(mask), text);
  }
  return all & mask;
}

enum class Shuffle : uint8_t { up, down, bfly, idx };

// d|p = shfl a, b (lane or distance), c (clamp and segment). Source lane and validity as in the PTX
// ISA.
void shuffle(Warp& w, const Instruction& in, uint32_t mask) {
  members(w, in, mask);
  alignas(64) uint32_t a[32];
  std::memcpy(a, w.row<uint32_t>(in.a), sizeof a);
  const uint32_t *b = w.row<uint32_t>(in.b), *c = w.row<uint32_t>(in.c);
  const uint32_t d_row = w.block->launch.program.extras[in.extra + 1];
  alignas(64) uint32_t result[32];
  uint32_t valid = 0;
  for_active(mask, [&](int lane) {
    const uint32_t segment = c[lane] >> 8 & 31, clamp = c[lane] & 31, distance = b[lane] & 31;
    const auto l = static_cast<uint32_t>(lane);
    const int most = static_cast<int>((l & segment) | (clamp & ~segment)),
              least = static_cast<int>(l & segment);
    int from = lane;
    bool ok = false;
    switch (static_cast<Shuffle>(in.flags)) {
      case Shuffle::up:
        from = lane - static_cast<int>(distance);
        ok = from >= most;
        break;
      case Shuffle::down:
        from = lane + static_cast<int>(distance);
        ok = from <= most;
        break;
      case Shuffle::bfly:
        from = lane ^ static_cast<int>(distance);
        ok = from <= most;
        break;
      case Shuffle::idx:
        from = least | static_cast<int>(distance & ~segment);
        ok = from <= most;
        break;
    }
    if (!ok) from = lane;
    if (!(mask >> from & 1))
      w.fault(in, lane, "shfl reads lane " + std::to_string(from) + ", which is not active");
    result[lane] = a[from];
    valid |= uint32_t{ok} << lane;
  });
  if (d_row != kNone) {
    uint32_t* d = w.row<uint32_t>(d_row);
    FOR_LANES d[l] = (mask >> l & 1) ? result[l] : d[l];
  }
  if (in.d != kNone) w.predicates[in.d] = (w.predicates[in.d] & ~mask) | valid;
}

enum class Vote : uint8_t { all, any, uni, ballot };

void vote(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t named = members(w, in, mask);
  const uint32_t yes = (w.predicates[in.a] ^ (in.offset ? ~0u : 0)) & named;
  const auto kind = static_cast<Vote>(in.flags);
  if (kind == Vote::ballot) {
    uint32_t* d = w.row<uint32_t>(in.d);
    for_active(mask, [&](int l) { d[l] = yes; });
    return;
  }
  const bool r = kind == Vote::all   ? yes == named
                 : kind == Vote::any ? yes != 0
                                     : yes == named || yes == 0;
  uint32_t& d = w.predicates[in.d];
  d = r ? d | mask : d & ~mask;
}

template <class T, bool all>
void match(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t named = members(w, in, mask);
  alignas(64) T a[32];
  std::memcpy(a, w.row<T>(in.a), sizeof a);
  const uint32_t d_row = w.block->launch.program.extras[in.extra + 1];
  uint32_t same_all = 0;
  for_active(mask, [&](int l) {
    uint32_t same = 0;
    for_active(named, [&](int other) { same |= uint32_t{a[other] == a[l]} << other; });
    if (all && same != named) same = 0;
    if (same) same_all |= 1u << l;
    if (d_row != kNone) w.row<uint32_t>(d_row)[l] = same;
  });
  if (in.d != kNone) w.predicates[in.d] = (w.predicates[in.d] & ~mask) | same_all;
}

enum class Reduce : uint8_t { add, min, max, and_, or_, xor_ };

template <class T>
void redux(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t named = members(w, in, mask);
  const T* a = w.row<T>(in.a);
  T r = a[std::countr_zero(named)];
  for_active(named & (named - 1), [&](int l) {
    switch (static_cast<Reduce>(in.flags)) {
      case Reduce::add:
        r = static_cast<T>(static_cast<uint32_t>(r) + static_cast<uint32_t>(a[l]));
        break;
      case Reduce::min:
        r = std::min(r, a[l]);
        break;
      case Reduce::max:
        r = std::max(r, a[l]);
        break;
      case Reduce::and_:
        r &= a[l];
        break;
      case Reduce::or_:
        r |= a[l];
        break;
      case Reduce::xor_:
        r ^= a[l];
        break;
    }
  });
  T* d = w.row<T>(in.d);
  for_active(mask, [&](int l) { d[l] = r; });
}

void active_mask(Warp& w, const Instruction& in, uint32_t mask) {
  uint32_t* d = w.row<uint32_t>(in.d);
  for_active(mask, [&](int l) { d[l] = mask; });
}

void warp_barrier(Warp& w, const Instruction& in, uint32_t mask) {
  members(w, in, mask);
  if (w.observer) w.observer->warp_synchronises(w);
}

template <size_t n>
int index_of(const std::string_view (&names)[n], std::string_view name) {
  for (size_t i = 0; i < n; ++i)
    if (names[i] == name) return static_cast<int>(i);
  return -1;
}

// A destination d, or d|p: the row in extras[1], the predicate in Instruction::d.
void bind_pair(Decoder& d, const Operand& result) {
  const bool pair = result.kind == Operand::Kind::pair;
  const Operand& value = pair ? result.list[0] : result;
  if (value.kind == Operand::Kind::sink)
    d.new_extra(kNone);
  else
    d.destination(Field::extra, value, 4);
  d.in().d =
      pair && result.list[1].kind != Operand::Kind::sink ? d.predicate(result.list[1]) : kNone;
}

}  // namespace

bool decode_warp_level(Decoder& d) {
  const auto& s = d.statement();
  const auto parts = s.parts();
  const std::string_view op = parts[0];
  if (s.opcode == "activemask.b32") {
    d.add(active_mask, Control::masked);
    d.destination(Field::d, d.operand(0), 4);
    return true;
  }
  if (s.opcode == "bar.warp.sync" || s.opcode == "barrier.warp.sync") {
    d.add(warp_barrier, Control::masked);
    d.source(Field::extra, d.operand(0), 4);
    return true;
  }
  if (op == "match") {
    if (parts.size() != 4 || parts[2] != "sync") return false;
    const bool all = parts[1] == "all", wide = parts[3] == "b64";
    if ((!all && parts[1] != "any") || (!wide && parts[3] != "b32")) return false;
    Draft& draft = d.add(wide ? (all ? match<uint64_t, true> : match<uint64_t, false>)
                              : (all ? match<uint32_t, true> : match<uint32_t, false>),
                         Control::masked);
    draft.separate = true;
    d.source(Field::extra, d.operand(2), 4);
    bind_pair(d, d.operand(0));
    d.source(Field::a, d.operand(1), wide ? 8 : 4);
    return true;
  }
  if (parts.size() < 3 || parts[1] != "sync") return false;
  if (op == "shfl") {
    static constexpr std::string_view names[] = {"up", "down", "bfly", "idx"};
    const int kind = index_of(names, parts[2]);
    if (kind < 0 || parts.size() != 4 || parts[3] != "b32") return false;
    Draft& draft = d.add(shuffle, Control::masked);
    draft.separate = true;
    draft.in.flags = static_cast<uint8_t>(kind);
    d.source(Field::extra, d.operand(4), 4);
    bind_pair(d, d.operand(0));
    d.source(Field::a, d.operand(1), 4);
    d.source(Field::b, d.operand(2), 4);
    d.source(Field::c, d.operand(3), 4);
    return true;
  }
  if (op == "vote") {
    static constexpr std::string_view names[] = {"all", "any", "uni", "ballot"};
    const int kind = index_of(names, parts[2]);
    if (kind < 0 || parts.size() != 4) return false;
    Instruction& in = d.add(vote, Control::masked).in;
    in.flags = static_cast<uint8_t>(kind);
    in.a = d.predicate(d.operand(1));
    in.offset = d.operand(1).negated;
    d.source(Field::extra, d.operand(2), 4);
    if (kind == 3)
      d.destination(Field::d, d.operand(0), 4);
    else
      in.d = d.predicate(d.operand(0));
    return true;
  }
  if (op == "redux") {
    static constexpr std::string_view names[] = {"add", "min", "max", "and", "or", "xor"};
    const int kind = index_of(names, parts[2]);
    if (kind < 0 || parts.size() != 4 || size_of(type_of(parts[3])) != 4) return false;
    Draft& draft =
        d.add(type_of(parts[3]) == Type::s32 ? redux<int32_t> : redux<uint32_t>, Control::masked);
    draft.separate = true;
    draft.in.flags = static_cast<uint8_t>(kind);
    d.source(Field::extra, d.operand(2), 4);
    d.source(Field::a, d.operand(1), 4);
    d.destination(Field::d, d.operand(0), 4);
    return true;
  }
  return false;
}

}  // namespace flyball::simulated_gpu

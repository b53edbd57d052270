#include "tests/simulated_gpu/rows.h"

// mov (also packing and unpacking), cvta, isspacep, clocks.
namespace flyball::simulated_gpu {
namespace {

template <class T>
void copy_row(Warp& w, const Instruction& in, uint32_t) {
  T* d = w.row<T>(in.d);
  const T* a = w.row<T>(in.a);
  FOR_LANES d[l] = a[l];
}

// d = {a0, a1, ..}, the first in the low bits. flags: elements; width: bytes of d; extras: the
// elements' rows.
void pack(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t* rows = &w.block->launch.program.extras[in.extra];
  const int part = in.width / in.flags;
  for_active(mask, [&](int l) {
    uint64_t v = 0;
    for (int i = 0; i < in.flags; ++i) v |= read_lane(w, rows[i], part, l) << 8 * part * i;
    write_lane(w, in.d, in.width, l, v);
  });
}
void unpack(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t* rows = &w.block->launch.program.extras[in.extra];
  const int part = in.width / in.flags;
  for_active(mask, [&](int l) {
    const uint64_t v = read_lane(w, in.a, in.width, l);
    for (int i = 0; i < in.flags; ++i)
      if (rows[i] != kNone) write_lane(w, rows[i], part, l, v >> 8 * part * i);
  });
}

bool decode_pack(Decoder& d, int width) {
  const bool packs = d.operand(1).kind == Operand::Kind::vector;
  const auto& list = d.operand(packs ? 1 : 0).list;
  const int part = width / static_cast<int>(list.size());
  if (part < 2 || part * static_cast<int>(list.size()) != width)
    d.fail("packing of bytes is not covered");
  Draft& draft = d.add(packs ? pack : unpack, Control::masked);
  draft.in.flags = static_cast<uint8_t>(list.size());
  draft.in.width = static_cast<uint8_t>(width);
  draft.separate = true;
  for (const Operand& o : list) {
    if (packs)
      d.source(Field::extra, o, part);
    else if (o.kind == Operand::Kind::sink)
      d.new_extra(kNone);
    else
      d.destination(Field::extra, o, part);
  }
  if (packs)
    d.destination(Field::d, d.operand(0), width);
  else
    d.source(Field::a, d.operand(1), width);
  return true;
}

// %clock, %clock64, %globaltimer: each read gives a later number.
template <class T>
void read_clock(Warp& w, const Instruction& in, uint32_t) {
  T* d = w.row<T>(in.d);
  const uint64_t now = w.block->launch.clock.fetch_add(1, std::memory_order_relaxed) + 1;
  FOR_LANES d[l] = static_cast<T>(now);
}

bool decode_mov(Decoder& d) {
  const auto parts = d.statement().parts();
  if (parts[0] != "mov" || parts.size() != 2 || parts[1] == "pred") return false;
  const int width = size_of(type_of(parts[1]));
  if (type_of(parts[1]) == Type::none || width < 2 || width > 8) return false;
  if (d.operand(0).kind == Operand::Kind::vector || d.operand(1).kind == Operand::Kind::vector)
    return decode_pack(d, width);
  const std::string_view name = d.operand(1).name;
  if (name.starts_with("%clock") || name.starts_with("%globaltimer")) {
    d.add(width == 4 ? read_clock<uint32_t> : read_clock<uint64_t>, Control::row).in.width =
        static_cast<uint8_t>(width);
  } else {
    d.add(width == 2   ? copy_row<uint16_t>
          : width == 4 ? copy_row<uint32_t>
                       : copy_row<uint64_t>,
          Control::row)
        .in.width = static_cast<uint8_t>(width);
    d.source(Field::a, d.operand(1), width);
  }
  d.destination(Field::d, d.operand(0), width);
  return true;
}

// Generic addresses are the host's: shared memory lies at the block's buffer, a lane's local memory
// within the warp's.
void convert_address(Warp& w, const Instruction& in, uint32_t) {
  uint64_t* d = w.row<uint64_t>(in.d);
  const uint64_t* a = w.row<uint64_t>(in.a);
  uint64_t base = 0, step = 0;
  if (in.space == Space::shared) base = reinterpret_cast<uint64_t>(w.block->shared);
  if (in.space == Space::parameter) base = reinterpret_cast<uint64_t>(w.block->launch.parameters);
  if (in.space == Space::local) {
    base = reinterpret_cast<uint64_t>(w.local);
    step = w.block->launch.program.local_bytes;
  }
  const bool to = in.flags;
  FOR_LANES {
    const uint64_t shift = base + step * static_cast<uint64_t>(l);
    d[l] = to ? a[l] - shift : a[l] + shift;
  }
}

bool decode_cvta(Decoder& d) {
  const auto& s = d.statement();
  const auto parts = s.parts();
  if (parts[0] != "cvta" || parts.back() != "u64") return false;
  Instruction& in = d.add(convert_address, Control::row).in;
  in.width = 8;
  in.flags = s.has("to");
  if (s.has("shared") || s.has("shared::cta"))
    in.space = Space::shared;
  else if (s.has("local"))
    in.space = Space::local;
  else if (s.has("param") || s.has("param::entry"))
    in.space = Space::parameter;
  else if (s.has("global") || s.has("const"))
    in.space = Space::global;
  else
    return d.fail("this space is not covered"), false;
  d.source(Field::a, d.operand(1), 8);
  d.destination(Field::d, d.operand(0), 8);
  return true;
}

void in_space(Warp& w, const Instruction& in, uint32_t mask) {
  const uint64_t* a = w.row<uint64_t>(in.a);
  const auto shared = reinterpret_cast<uint64_t>(w.block->shared),
             local = reinterpret_cast<uint64_t>(w.local);
  uint32_t r = 0;
  for (int l = 0; l < 32; ++l) {
    const bool is_shared = a[l] - shared < w.block->shared_bytes;
    const bool is_local = a[l] - local < uint64_t{32} * w.block->launch.program.local_bytes;
    r |= uint32_t{in.space == Space::shared  ? is_shared
                  : in.space == Space::local ? is_local
                                             : !is_shared && !is_local}
         << l;
  }
  uint32_t& d = w.predicates[in.d];
  d = (d & ~mask) | (r & mask);
}

bool decode_isspacep(Decoder& d) {
  const auto parts = d.statement().parts();
  if (parts[0] != "isspacep" || parts.size() != 2) return false;
  const Space space = parts[1] == "shared" || parts[1] == "shared::cta" ? Space::shared
                      : parts[1] == "local"                             ? Space::local
                                                                        : Space::global;
  if (space == Space::global && parts[1] != "global") return false;
  Instruction& in = d.add(in_space, Control::masked).in;
  in.space = space;
  in.d = d.predicate(d.operand(0));
  d.source(Field::a, d.operand(1), 8);
  return true;
}

}  // namespace

bool decode_move(Decoder& d) { return decode_mov(d) || decode_cvta(d) || decode_isspacep(d); }

}  // namespace flyball::simulated_gpu

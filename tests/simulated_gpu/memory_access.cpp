#include "tests/simulated_gpu/memory_access.h"

#include <type_traits>

// ld and st of every width, one, two or four elements a lane, in every space.
namespace flyball::simulated_gpu {
namespace {

typedef float Four __attribute__((vector_size(16)));

// Four lanes' four elements of 4 bytes, turned: rows become elements.
inline void turn(Four& a, Four& b, Four& c, Four& d) {
  using Index = int __attribute__((vector_size(16)));
  const Four ab0 = __builtin_shuffle(a, b, Index{0, 4, 1, 5}),
             ab1 = __builtin_shuffle(a, b, Index{2, 6, 3, 7});
  const Four cd0 = __builtin_shuffle(c, d, Index{0, 4, 1, 5}),
             cd1 = __builtin_shuffle(c, d, Index{2, 6, 3, 7});
  a = __builtin_shuffle(ab0, cd0, Index{0, 1, 4, 5});
  b = __builtin_shuffle(ab0, cd0, Index{2, 3, 6, 7});
  c = __builtin_shuffle(ab1, cd1, Index{0, 1, 4, 5});
  d = __builtin_shuffle(ab1, cd1, Index{2, 3, 6, 7});
}

// M: the element in memory, R: its register (wider M is extended), n: elements.
template <class M, class R, int n>
void gather(const uint64_t* at, bool contiguous, R* const* rows) {
  if constexpr (n == 4 && sizeof(M) == 4 && sizeof(R) == 4) {
    for (int l = 0; l < 32; l += 4) {
      Four v[4];
      for (int i = 0; i < 4; ++i) std::memcpy(&v[i], reinterpret_cast<const void*>(at[l + i]), 16);
      turn(v[0], v[1], v[2], v[3]);
      for (int i = 0; i < 4; ++i) std::memcpy(rows[i] + l, &v[i], 16);
    }
    return;
  }
  if (n == 1 && contiguous) {
    const uint8_t* from = reinterpret_cast<const uint8_t*>(at[0]);
    R* row = rows[0];
    for (int l = 0; l < 32; ++l) {
      M v;
      std::memcpy(&v, from + static_cast<size_t>(l) * sizeof(M), sizeof(M));
      row[l] = static_cast<R>(v);
    }
    return;
  }
  for (int l = 0; l < 32; ++l) {
    M v[n];
    std::memcpy(v, reinterpret_cast<const void*>(at[l]), sizeof v);
    for (int i = 0; i < n; ++i) rows[i][l] = static_cast<R>(v[i]);
  }
}

template <class M, class R, int n>
void load(Warp& w, const Instruction& in, uint32_t mask) {
  alignas(64) uint64_t at[32];
  const bool contiguous = resolve(w, in, mask, sizeof(M) * n, at);
  observe(w, in, mask, sizeof(M) * n, Access::read, at);
  const uint32_t* extras = &w.block->launch.program.extras[in.extra];
  const bool whole = (mask | w.dead) == ~0u;
  alignas(64) R scratch[n][32];
  R* rows[n];
  for (int i = 0; i < n; ++i)
    rows[i] = whole && extras[i] != kNone ? w.row<R>(extras[i]) : scratch[i];
  gather<M, R, n>(at, contiguous, rows);
  if (whole) return;
  for (int i = 0; i < n; ++i) {
    if (extras[i] == kNone) continue;
    R* d = w.row<R>(extras[i]);
    FOR_LANES d[l] = (mask >> l & 1) ? scratch[i][l] : d[l];
  }
}

template <class M, class R, int n>
void store(Warp& w, const Instruction& in, uint32_t mask) {
  alignas(64) uint64_t at[32];
  const bool contiguous = resolve(w, in, mask, sizeof(M) * n, at);
  observe(w, in, mask, sizeof(M) * n, Access::write, at);
  const uint32_t* extras = &w.block->launch.program.extras[in.extra];
  const R* rows[n];
  for (int i = 0; i < n; ++i) rows[i] = w.row<R>(extras[i]);
  if (mask == ~0u) {
    if constexpr (n == 4 && sizeof(M) == 4 && sizeof(R) == 4) {
      for (int l = 0; l < 32; l += 4) {
        Four v[4];
        for (int i = 0; i < 4; ++i) std::memcpy(&v[i], rows[i] + l, 16);
        turn(v[0], v[1], v[2], v[3]);
        for (int i = 0; i < 4; ++i) std::memcpy(reinterpret_cast<void*>(at[l + i]), &v[i], 16);
      }
      return;
    }
    if (n == 1 && contiguous && sizeof(M) == sizeof(R)) {
      std::memcpy(reinterpret_cast<void*>(at[0]), rows[0], 32 * sizeof(M));
      return;
    }
  }
  for_active(mask, [&](int l) {
    M v[n];
    for (int i = 0; i < n; ++i) v[i] = static_cast<M>(rows[i][l]);
    std::memcpy(reinterpret_cast<void*>(at[l]), v, sizeof v);
  });
}

template <class M, class R>
Handler handler_of(bool loads, int n) {
  if constexpr (sizeof(M) > sizeof(R)) {
    return nullptr;
  } else {
    switch (n) {
      case 1:
        return loads ? load<M, R, 1> : store<M, R, 1>;
      case 2:
        return loads ? load<M, R, 2> : store<M, R, 2>;
      case 4:
        if constexpr (sizeof(M) < 8) return loads ? load<M, R, 4> : store<M, R, 4>;
        return nullptr;
      default:
        return nullptr;
    }
  }
}
template <class M>
Handler handler_of(bool loads, int n, int register_width) {
  return register_width == 2   ? handler_of<M, uint16_t>(loads, n)
         : register_width == 4 ? handler_of<M, uint32_t>(loads, n)
                               : handler_of<M, uint64_t>(loads, n);
}
Handler handler_of(Type type, bool loads, int n, int register_width) {
  switch (type) {
    case Type::s8:
      return handler_of<int8_t>(loads, n, register_width);
    case Type::s16:
      return handler_of<int16_t>(loads, n, register_width);
    case Type::s32:
      return handler_of<int32_t>(loads, n, register_width);
    case Type::pred:
    case Type::none:
    case Type::b128:
      return nullptr;
    default:
      break;
  }
  switch (size_of(type)) {
    case 1:
      return handler_of<uint8_t>(loads, n, register_width);
    case 2:
      return handler_of<uint16_t>(loads, n, register_width);
    case 4:
      return handler_of<uint32_t>(loads, n, register_width);
    default:
      return handler_of<uint64_t>(loads, n, register_width);
  }
}

void copy_parameter(Warp& w, const Instruction& in, uint32_t mask) {
  const size_t size = w.block->launch.program.local_bytes;
  for_active(mask, [&](int l) {
    uint8_t* frame = w.local + static_cast<size_t>(l) * size;
    std::memcpy(frame + in.d, frame + in.a, in.b);
  });
}

void fence(Warp& w, const Instruction&, uint32_t) {
  if (w.observer) w.observer->fence(w);
}
void nothing(Warp&, const Instruction&, uint32_t) {}

bool decode_hint(Decoder& d) {
  const std::string_view op = d.statement().parts()[0];
  if (op == "membar" || op == "fence") {
    if (d.statement().has("proxy")) return false;
    d.add(fence, Control::masked);
  } else if (op == "nanosleep") {
    d.add(nothing, Control::yield);
  } else if (op == "prefetch" || op == "prefetchu" || op == "pmevent" || op == "applypriority") {
    d.add(nothing, Control::masked);
  } else {
    return false;
  }
  return true;
}

}  // namespace

Handler parameter_copy_handler() { return copy_parameter; }

bool decode_memory_access(Decoder& d) {
  const auto parts = d.statement().parts();
  const bool loads = parts[0] == "ld" || parts[0] == "ldu";
  if (!loads && parts[0] != "st") return decode_hint(d);
  int n = 1;
  Space space = Space::generic;
  uint8_t flags = 0;
  for (size_t i = 1; i + 1 < parts.size(); ++i) {
    if (parts[i] == "v2")
      n = 2;
    else if (parts[i] == "v4")
      n = 4;
    else if (parts[i] == "volatile" || parts[i] == "relaxed" || parts[i] == "acquire")
      flags |= kStrong;
    else if (parts[i] == "release")
      flags |= kStrong | kRelease;
    else if (!is_hint(parts[i]) && !parse_space(parts[i], space))
      return false;
  }
  const Operand& value = d.operand(loads ? 0 : 1);
  const Operand& where = d.operand(loads ? 1 : 0);
  const Type type = type_of(parts.back());
  const std::vector<Operand> elements = n == 1 ? std::vector<Operand>{value} : value.list;
  if (elements.size() != static_cast<size_t>(n))
    d.fail("the vector has another number of elements");
  int width = 0;
  for (const Operand& o : elements)
    if (o.kind == Operand::Kind::reg) width = d.width_of(o);
  if (width == 0) width = std::max(2, size_of(type));
  const Handler handler = handler_of(type, loads, n, width);
  if (!handler) return false;
  Draft& draft = d.add(handler, Control::masked);
  draft.separate = true;
  draft.in.slot = 1;
  draft.in.flags = flags;
  // Parameters of calls are local memory; a kernel's own lie apart.
  if (space == Space::parameter && !where.name.empty() && !d.is_kernel_parameter(where.name))
    space = Space::local;
  draft.in.space = space;
  for (const Operand& o : elements) {
    if (o.kind == Operand::Kind::sink)
      d.new_extra(kNone);
    else if (loads)
      d.destination(Field::extra, o, width);
    else
      d.source(Field::extra, o, width);
  }
  d.address(Field::a, where);
  return true;
}

}  // namespace flyball::simulated_gpu

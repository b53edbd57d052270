#include <algorithm>
#include <mutex>
#include <type_traits>

#include "tests/simulated_gpu/float_formats.h"
#include "tests/simulated_gpu/memory_access.h"

// atom and red, lane by lane in ascending order.
namespace flyball::simulated_gpu {
namespace {

enum class Update : uint8_t { add, exch, cas, and_, or_, xor_, min, max, inc, dec };
constexpr std::string_view kUpdates[] = {"add", "exch", "cas", "and", "or",
                                         "xor", "min",  "max", "inc", "dec"};

// Host threads run blocks at once: one update of memory at a time.
std::mutex& update_mutex() {
  static std::mutex mutex;
  return mutex;
}

struct HalfNumber {
  uint16_t bits;
};
struct BfloatNumber {
  uint16_t bits;
};
struct HalfPair {
  uint32_t bits;
};
struct BfloatPair {
  uint32_t bits;
};

template <class Format>
uint32_t add_pair(uint32_t a, uint32_t b) {
  const auto half = [](uint32_t x, uint32_t y) {
    return uint32_t{Format::store(Format::load(static_cast<uint16_t>(x)) +
                                  Format::load(static_cast<uint16_t>(y)))};
  };
  return half(a, b) | half(a >> 16, b >> 16) << 16;
}

template <class T>
T updated(Update update, T old, T b, T c) {
  if constexpr (std::is_floating_point_v<T>) {
    return update == Update::add ? old + b : b;
  } else if constexpr (std::is_same_v<T, HalfNumber>) {
    return {float_to_half(half_to_float(old.bits) + half_to_float(b.bits))};
  } else if constexpr (std::is_same_v<T, BfloatNumber>) {
    return {float_to_bfloat(bfloat_to_float(old.bits) + bfloat_to_float(b.bits))};
  } else if constexpr (std::is_same_v<T, HalfPair>) {
    return {add_pair<Half>(old.bits, b.bits)};
  } else if constexpr (std::is_same_v<T, BfloatPair>) {
    return {add_pair<Bfloat>(old.bits, b.bits)};
  } else {
    switch (update) {
      case Update::add:
        return static_cast<T>(static_cast<uint64_t>(old) + static_cast<uint64_t>(b));
      case Update::exch:
        return b;
      case Update::cas:
        return old == b ? c : old;
      case Update::and_:
        return old & b;
      case Update::or_:
        return old | b;
      case Update::xor_:
        return old ^ b;
      case Update::min:
        return std::min(old, b);
      case Update::max:
        return std::max(old, b);
      case Update::inc:
        return old >= b ? T(0) : static_cast<T>(old + 1);
      case Update::dec:
        return old == 0 || old > b ? b : static_cast<T>(old - 1);
    }
    return old;
  }
}

// extras: rows of d (kNone for red), b, c; width holds the Update.
template <class T>
void update(Warp& w, const Instruction& in, uint32_t mask) {
  alignas(64) uint64_t at[32];
  resolve(w, in, mask, sizeof(T), at);
  observe(w, in, mask, sizeof(T), Access::atomic, at);
  const uint32_t* extras = &w.block->launch.program.extras[in.extra];
  const T *b = w.row<T>(extras[1]), *c = w.row<T>(extras[2]);
  T* d = extras[0] == kNone ? nullptr : w.row<T>(extras[0]);
  std::unique_lock lock(update_mutex(), std::defer_lock);
  if (in.space != Space::shared) lock.lock();
  for_active(mask, [&](int l) {
    T old;
    std::memcpy(&old, reinterpret_cast<void*>(at[l]), sizeof old);
    const T fresh = updated<T>(static_cast<Update>(in.width), old, b[l], c[l]);
    std::memcpy(reinterpret_cast<void*>(at[l]), &fresh, sizeof fresh);
    if (d) d[l] = old;
  });
}

Handler handler_of(Type type, Update update_kind) {
  const bool adds = update_kind == Update::add;
  switch (type) {
    case Type::s32:
      return update<int32_t>;
    case Type::u32:
    case Type::b32:
      return update<uint32_t>;
    case Type::s64:
      return update<int64_t>;
    case Type::u64:
    case Type::b64:
      return update<uint64_t>;
    case Type::b16:
    case Type::u16:
      return update<uint16_t>;
    case Type::f32:
      return adds ? update<float> : nullptr;
    case Type::f64:
      return adds ? update<double> : nullptr;
    case Type::f16:
      return adds ? update<HalfNumber> : nullptr;
    case Type::bf16:
      return adds ? update<BfloatNumber> : nullptr;
    case Type::f16x2:
      return adds ? update<HalfPair> : nullptr;
    case Type::bf16x2:
      return adds ? update<BfloatPair> : nullptr;
    default:
      return nullptr;
  }
}

}  // namespace

bool decode_atomic(Decoder& d) {
  const auto parts = d.statement().parts();
  const bool returns = parts[0] == "atom";
  if (!returns && parts[0] != "red") return false;
  Space space = Space::generic;
  uint8_t flags = kStrong | kAtomic;
  int kind = -1;
  for (size_t i = 1; i + 1 < parts.size(); ++i) {
    for (size_t k = 0; k < std::size(kUpdates); ++k)
      if (kUpdates[k] == parts[i]) kind = static_cast<int>(k);
    const bool update_name = kind >= 0 && kUpdates[kind] == parts[i];
    if (parts[i] == "release" || parts[i] == "acq_rel")
      flags |= kRelease;
    else if (!update_name && parts[i] != "relaxed" && parts[i] != "acquire" &&
             parts[i] != "noftz" && !is_hint(parts[i]) && !parse_space(parts[i], space))
      return false;
  }
  if (kind < 0) return false;
  const Type type = type_of(parts.back());
  const Handler handler = handler_of(type, static_cast<Update>(kind));
  if (!handler) return false;
  Draft& draft = d.add(handler, Control::masked);
  draft.separate = true;
  draft.in.slot = 1;
  draft.in.space = space;
  draft.in.flags = flags;
  draft.in.width = static_cast<uint8_t>(kind);
  const int width = size_of(type);
  const size_t first = returns ? 1 : 0;
  if (!returns || d.operand(0).kind == Operand::Kind::sink)
    d.new_extra(kNone);
  else
    d.destination(Field::extra, d.operand(0), width);
  d.source(Field::extra, d.operand(first + 1), width);
  if (static_cast<Update>(kind) == Update::cas)
    d.source(Field::extra, d.operand(first + 2), width);
  else
    d.source(Field::extra, d.operand(first + 1), width);
  d.address(Field::a, d.operand(first));
  return true;
}

}  // namespace flyball::simulated_gpu

#include <cstdio>

#include "tests/simulated_gpu/memory_access.h"

namespace flyball::simulated_gpu {
namespace {

[[noreturn]] void misaligned(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes,
                             const uint64_t* at) {
  int lane = std::countr_zero(mask);
  for (int l = 31; l >= 0; --l)
    if ((mask >> l & 1) && at[l] % bytes) lane = l;
  w.fault(in, lane,
          "misaligned address: an access of " + std::to_string(bytes) + " bytes at " +
              std::to_string(at[lane] % bytes) + " bytes past a multiple of " +
              std::to_string(bytes));
}

[[noreturn]] void outside(Warp& w, const Instruction& in, int lane, const char* space,
                          uint64_t offset, uint32_t bytes, uint64_t size) {
  char text[200];
  std::snprintf(text, sizeof text, "out of bounds: bytes %lld to %lld of %s memory, which has %llu",
                static_cast<long long>(offset), static_cast<long long>(offset + bytes), space,
                static_cast<unsigned long long>(size));
  w.fault(in, lane, text);
}

bool inside(uint64_t offset, uint32_t bytes, uint64_t size) {
  return bytes <= size && offset <= size - bytes;
}

// Some lane lies outside the allocation touched last: each lane is looked up.
void resolve_each(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes,
                  const uint64_t* at) {
  const MemorySnapshot& memory = w.block->launch.memory;
  Allocation& cached = w.worker->cache[in.slot];
  Allocation last = cached;
  for_active(mask, [&](int l) {
    if (inside(at[l] - last.begin, bytes, last.end - last.begin)) return;
    if (const Allocation* found = memory.find(at[l]); found && at[l] + bytes <= found->end)
      last = *found;
    else
      check_generic(w, in, l, at[l], bytes);
  });
  cached = last;
}

bool resolve_local(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes, uint64_t* at) {
  const uint64_t size = w.block->launch.program.local_bytes;
  const uint64_t* a = w.row<uint64_t>(in.a);
  const uint32_t* narrow = w.row<uint32_t>(in.a);
  uint64_t low = 0;
  const int first = std::countr_zero(mask);
  for_active(mask, [&](int l) {
    const uint64_t offset =
        ((in.flags & kAddress32) ? narrow[l] : a[l]) + static_cast<uint64_t>(in.offset);
    if (!inside(offset, bytes, size)) outside(w, in, l, "local", offset, bytes, size);
    at[l] = reinterpret_cast<uint64_t>(w.local) + static_cast<uint64_t>(l) * size + offset;
    low |= at[l];
  });
  for (int l = 0; l < 32; ++l)
    if (!(mask >> l & 1)) at[l] = at[first];
  if (low & (bytes - 1)) misaligned(w, in, mask, bytes, at);
  return false;
}

}  // namespace

void check_generic(Warp& w, const Instruction& in, int lane, uint64_t address, uint32_t bytes) {
  const Block& block = *w.block;
  if (in.space == Space::generic) {
    const auto in_window = [&](const uint8_t* begin, uint64_t size) {
      return inside(address - reinterpret_cast<uint64_t>(begin), bytes, size);
    };
    if (in_window(block.shared, block.shared_bytes) ||
        in_window(w.local, uint64_t{32} * block.launch.program.local_bytes) ||
        in_window(block.launch.parameters, block.launch.program.parameter_bytes))
      return;
  }
  w.fault(in, lane, block.launch.describe_memory(address, bytes));
}

bool resolve(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes, uint64_t* at) {
  uint64_t begin = 0, size = 0, base = 0;
  switch (in.space) {
    case Space::local:
      return resolve_local(w, in, mask, bytes, at);
    case Space::shared:
      begin = base = reinterpret_cast<uint64_t>(w.block->shared);
      size = w.block->shared_bytes;
      break;
    case Space::parameter:
      begin = base = reinterpret_cast<uint64_t>(w.block->launch.parameters);
      size = w.block->launch.program.parameter_bytes;
      break;
    default: {
      const Allocation& cached = w.worker->cache[in.slot];
      begin = cached.begin;
      size = cached.end - cached.begin;
    }
  }
  if (in.flags & kAddress32) {
    const uint32_t* a = w.row<uint32_t>(in.a);
    const auto offset = static_cast<uint32_t>(in.offset);
    FOR_LANES at[l] = base + (a[l] + offset);
  } else {
    const uint64_t* a = w.row<uint64_t>(in.a);
    const uint64_t offset = static_cast<uint64_t>(in.offset) + base;
    FOR_LANES at[l] = a[l] + offset;
  }
  if (mask != ~0u) {
    const uint64_t active = at[std::countr_zero(mask)];
    FOR_LANES at[l] = (mask >> l & 1) ? at[l] : active;
  }
  // Offsets fit 63 bits, so the sign of offset | (limit - offset) tells whether a lane is outside.
  const uint64_t limit = size - bytes, start = at[0];
  uint64_t bad = size < bytes ? ~uint64_t{0} : 0, low = 0, spread = 0;
  FOR_LANES {
    const uint64_t offset = at[l] - begin;
    bad |= offset | (limit - offset);
    low |= at[l];
    spread |= at[l] ^ (start + static_cast<uint64_t>(l) * bytes);
  }
  if (bad >> 63) {
    if (base) {
      for_active(mask, [&](int l) {
        if (!inside(at[l] - begin, bytes, size))
          outside(w, in, l, in.space == Space::shared ? "shared" : "parameter", at[l] - begin,
                  bytes, size);
      });
    } else {
      resolve_each(w, in, mask, bytes, at);
    }
  }
  if (low & (bytes - 1)) misaligned(w, in, mask, bytes, at);
  return spread == 0;
}

bool is_hint(std::string_view part) {
  for (const std::string_view hint :
       {"weak", "cta", "gpu", "sys", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc"})
    if (part == hint) return true;
  return part.starts_with("L1::") || part.starts_with("L2::");
}

bool parse_space(std::string_view part, Space& space) {
  if (part == "global" || part == "const")
    space = Space::global;
  else if (part == "shared" || part == "shared::cta")
    space = Space::shared;
  else if (part == "local")
    space = Space::local;
  else if (part == "param" || part == "param::entry" || part == "param::func")
    space = Space::parameter;
  else
    return false;
  return true;
}

}  // namespace flyball::simulated_gpu

#include <algorithm>

#include "tests/simulated_gpu/memory_access.h"

// cp.async: the bytes land in shared memory only when the thread waits for their group.
namespace flyball::simulated_gpu {
namespace {

// [a + offset] in shared memory <- [b + ..] in global memory. width: bytes; extras: row of the
// source's size or kNone, the offset of the source (two words), its flags.
void issue(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t* extras = &w.block->launch.program.extras[in.extra];
  const uint32_t bytes = in.width;
  alignas(64) uint64_t to[32], from[32];
  resolve(w, in, mask, bytes, to);
  Instruction source = in;  // the address of the second operand
  source.a = in.b;
  source.space = Space::global;
  source.offset = static_cast<int64_t>(extras[1] | uint64_t{extras[2]} << 32);
  source.flags = static_cast<uint8_t>(extras[3]);
  const uint32_t* sizes = extras[0] == kNone ? nullptr : w.row<uint32_t>(extras[0]);
  uint32_t reading = 0;
  for_active(mask, [&](int l) { reading |= uint32_t{!sizes || sizes[l] > 0} << l; });
  if (reading) {
    resolve(w, source, reading, bytes, from);
    observe(w, source, reading, bytes, Access::read, from);
  }
  for_active(mask, [&](int l) {
    const uint32_t size = sizes ? std::min(sizes[l], bytes) : bytes;
    w.copies.push_back({reinterpret_cast<uint8_t*>(to[l]),
                        reinterpret_cast<const uint8_t*>(from[l]), bytes, size,
                        static_cast<uint32_t>(l), w.copy_groups[l], &in});
  });
}

void commit(Warp& w, const Instruction&, uint32_t mask) {
  for_active(mask, [&](int l) { ++w.copy_groups[l]; });
}

// Lands the copies of all but the last `keep` groups. flags: wait_all.
void wait(Warp& w, const Instruction& in, uint32_t mask) {
  const auto keep = static_cast<uint32_t>(in.offset);
  if (in.flags) commit(w, in, mask);
  size_t kept = 0;
  for (const PendingCopy& copy : w.copies) {
    if (!(mask >> copy.lane & 1) || copy.group + keep >= w.copy_groups[copy.lane]) {
      w.copies[kept++] = copy;
      continue;
    }
    std::memcpy(copy.to, copy.from, copy.source_bytes);
    std::memset(copy.to + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    if (w.observer) {
      uint64_t at[32] = {};
      at[copy.lane] = reinterpret_cast<uint64_t>(copy.to);
      w.observer->access(w, *copy.instruction, 1u << copy.lane, copy.bytes, Access::write, at);
    }
  }
  w.copies.resize(kept);
}

}  // namespace

bool decode_async_copy(Decoder& d) {
  const auto& s = d.statement();
  if (s.opcode == "cp.async.commit_group") {
    d.add(commit, Control::masked);
    return true;
  }
  if (s.opcode == "cp.async.wait_all") {
    d.add(wait, Control::masked).in.flags = 1;
    return true;
  }
  if (s.opcode == "cp.async.wait_group") {
    if (d.operand(0).kind != Operand::Kind::immediate) return false;
    d.add(wait, Control::masked).in.offset = static_cast<int64_t>(d.operand(0).value);
    return true;
  }
  const auto parts = s.parts();
  if (parts.size() < 5 || parts[0] != "cp" || parts[1] != "async" ||
      (parts[2] != "ca" && parts[2] != "cg") ||
      (parts[3] != "shared" && parts[3] != "shared::cta") || parts[4] != "global")
    return false;
  for (size_t i = 5; i < parts.size(); ++i)
    if (!is_hint(parts[i])) return false;
  if (d.operand(2).kind != Operand::Kind::immediate) return false;
  const uint64_t bytes = d.operand(2).value;
  if (bytes != 4 && bytes != 8 && bytes != 16) return false;
  if (s.operands.size() > 3 && d.is_predicate(d.operand(3)))
    d.fail("an ignore-source predicate is not covered");
  Draft& draft = d.add(issue, Control::masked);
  draft.in.width = static_cast<uint8_t>(bytes);
  draft.in.space = Space::shared;
  draft.in.slot = 1;
  if (s.operands.size() > 3)
    d.source(Field::extra, d.operand(3), 4);
  else
    d.new_extra(kNone);
  const uint32_t at = d.new_extra();
  d.new_extra();
  d.new_extra();
  d.address(Field::b, d.operand(1));
  d.set_extra(at, static_cast<uint32_t>(d.in().offset));
  d.set_extra(at + 1, static_cast<uint32_t>(static_cast<uint64_t>(d.in().offset) >> 32));
  d.set_extra(at + 2, d.in().flags);
  d.in().flags = 0;
  d.address(Field::a, d.operand(0));
  return true;
}

}  // namespace flyball::simulated_gpu

#include <algorithm>

#include "tests/simulated_gpu/race_check.h"
#include "tests/simulated_gpu/rows.h"

namespace flyball::simulated_gpu {

void GlobalRaceCheck::fence(const Block& block) {
  fenced_[block.number] = epoch_[block.number];
  ++epoch_[block.number];
}

bool GlobalRaceCheck::ordered(const Stamp& before, uint32_t block) const {
  if (before.block == kNone || before.block == block) return true;
  const auto known = known_.find(block);
  return known != known_.end() && before.epoch <= known->second[before.block];
}

// The readers of a byte that many blocks read are not kept: a write to it must come after something
// of every other block.
bool GlobalRaceCheck::after_all_others(uint32_t block) const {
  const auto known = known_.find(block);
  if (known == known_.end()) return false;
  return std::all_of(started_.begin(), started_.end(),
                     [&](uint32_t other) { return other == block || known->second[other] > 0; });
}

// A release publishes what the block knew at its last fence; every atomic or strong access takes
// what was published.
void GlobalRaceCheck::synchronise(uint32_t block, uint64_t address, bool release) {
  const auto found = published_.find(address);
  if (found != published_.end()) {
    auto& known = known_[block];
    known.resize(blocks_);
    for (size_t i = 0; i < blocks_; ++i) known[i] = std::max(known[i], found->second[i]);
  }
  if (!release || !fenced_[block]) return;
  auto& published = published_[address];
  published.resize(blocks_);
  published[block] = std::max(published[block], fenced_[block]);
  if (const auto known = known_.find(block); known != known_.end())
    for (size_t i = 0; i < blocks_; ++i) published[i] = std::max(published[i], known->second[i]);
}

void GlobalRaceCheck::report(Warp& w, const Instruction& in, int lane, uint64_t address,
                             const Stamp& other, const char* kind) const {
  const Launch& launch = w.block->launch;
  const Allocation* found = launch.memory.find(address);
  w.fault(in, lane,
          std::string("race between blocks in global memory, ") + kind + ": byte " +
              std::to_string(found ? address - found->begin : address) + " of " +
              launch.device->name_at(address) + "\n  not ordered with " +
              describe(launch, launch.program.code[other.instruction]) + ", " +
              describe_thread(launch, other.block, other.thread));
}

void GlobalRaceCheck::access(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes,
                             Access access, const uint64_t* at) {
  const auto block = static_cast<uint32_t>(w.block->number);
  const bool strong = access == Access::atomic || (in.flags & kStrong);
  if (strong) {
    if ((in.flags & kRelease) && access != Access::read) fence(*w.block);
    uint64_t last = 0;
    for_active(mask, [&](int l) {
      if (at[l] != last) synchronise(block, at[l], access != Access::read);
      last = at[l];
    });
  }
  const uint32_t epoch = epoch_[block];
  for_active(mask, [&](int l) {
    const Stamp now{block, epoch, in.index, w.index * 32 + static_cast<uint32_t>(l), strong};
    for (uint64_t address = at[l]; address < at[l] + bytes; ++address) {
      Cell& cell = cells_.at(address);
      if (!(strong && cell.writer.strong) && !ordered(cell.writer, block))
        report(w, in, l, address, cell.writer,
               access == Access::read ? "read after write" : "write after write");
      if (access == Access::read) {
        if (cell.reader.block != kNone && cell.reader.block != block) cell.many_readers = true;
        cell.reader = now;
        continue;
      }
      if (!(strong && cell.reader.strong)) {
        const bool clear =
            cell.many_readers ? after_all_others(block) : ordered(cell.reader, block);
        if (!clear) report(w, in, l, address, cell.reader, "write after read");
      }
      cell.writer = now;
    }
  });
}

}  // namespace flyball::simulated_gpu

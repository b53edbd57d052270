#include <algorithm>

#include "tests/simulated_gpu/race_check.h"
#include "tests/simulated_gpu/rows.h"

namespace flyball::simulated_gpu {

void SharedRaceCheck::block_starts(const Block& block) {
  BlockState& state = blocks_[&block];
  state.cells.assign(block.shared_bytes, Cell());
  const size_t warps = block.warps.size();
  state.known.assign(warps, std::vector<uint32_t>(warps, 0));
  for (size_t w = 0; w < warps; ++w) state.known[w][w] = 1;
  for (auto& published : state.published) published.assign(warps, 0);
}

bool SharedRaceCheck::ordered(const BlockState& state, const Stamp& before, uint32_t thread,
                              bool strong) const {
  if (before.thread == kNone || before.thread == thread || (before.strong && strong)) return true;
  const uint32_t warp = thread / 32, other = before.thread / 32;
  return warp == other ? before.clock < state.known[warp][warp]
                       : before.clock <= state.known[warp][other];
}

void SharedRaceCheck::report(Warp& w, const Instruction& in, int lane, uint64_t offset,
                             const Stamp& other, const char* kind) const {
  const Launch& launch = w.block->launch;
  w.fault(in, lane,
          std::string("race in shared memory, ") + kind + ": byte " + std::to_string(offset) +
              "\n  not ordered with " + describe(launch, launch.program.code[other.instruction]) +
              ", " + describe_thread(launch, w.block->number, other.thread));
}

void SharedRaceCheck::access(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes,
                             Access access, const uint64_t* at) {
  BlockState& state = blocks_.at(w.block);
  const uint64_t base = reinterpret_cast<uint64_t>(w.block->shared);
  const bool strong = access == Access::atomic;
  const uint32_t clock = state.known[w.index][w.index];
  for_active(mask, [&](int l) {
    const uint32_t thread = w.index * 32 + static_cast<uint32_t>(l);
    for (uint64_t offset = at[l] - base; offset < at[l] - base + bytes; ++offset) {
      Cell& cell = state.cells[offset];
      const Stamp now{thread, clock, in.index, strong};
      if (uninitialised_ && access != Access::write && !cell.initialised)
        w.fault(in, l,
                "uninitialised read: byte " + std::to_string(offset) +
                    " of shared memory was never written");
      if (races_) {
        if (!ordered(state, cell.writer, thread, strong))
          report(w, in, l, offset, cell.writer,
                 access == Access::read ? "read after write" : "write after write");
        if (access != Access::read)
          for (const Stamp* reader : {&cell.reader, &cell.other_reader})
            if (!ordered(state, *reader, thread, strong))
              report(w, in, l, offset, *reader, "write after read");
      }
      if (access == Access::read) {
        if (cell.reader.thread != thread) cell.other_reader = cell.reader;
        cell.reader = now;
      } else {
        cell.writer = now;
        cell.initialised = true;
      }
    }
  });
}

void SharedRaceCheck::warp_synchronises(const Warp& w) {
  ++blocks_.at(w.block).known[w.index][w.index];
}

void SharedRaceCheck::barrier_arrives(const Warp& w, uint32_t id) {
  BlockState& state = blocks_.at(w.block);
  auto& own = state.known[w.index];
  for (size_t i = 0; i < own.size(); ++i)
    state.published[id][i] = std::max(state.published[id][i], own[i]);
  ++own[w.index];
}

void SharedRaceCheck::barrier_releases(const Block& block, uint32_t id) {
  BlockState& state = blocks_.at(&block);
  auto& published = state.published[id];
  for_active(static_cast<uint32_t>(block.barriers[id].waiting), [&](int warp) {
    auto& own = state.known[static_cast<size_t>(warp)];
    for (size_t i = 0; i < own.size(); ++i)
      if (i != static_cast<size_t>(warp)) own[i] = std::max(own[i], published[i]);
  });
  std::fill(published.begin(), published.end(), 0u);
}

}  // namespace flyball::simulated_gpu

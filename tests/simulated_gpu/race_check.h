#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tests/simulated_gpu/observer.h"
#include "tests/simulated_gpu/page_map.h"

// Two accesses of one byte race when one of them writes, not both are atomic, and no
// synchronisation orders them.
namespace flyball::simulated_gpu {

// Threads of one block in shared memory. Each warp has a clock that barriers and bar.warp.sync
// advance, and knows up to which clock of every other warp a barrier has ordered it.
class SharedRaceCheck {
 public:
  explicit SharedRaceCheck(bool races, bool uninitialised)
      : races_(races), uninitialised_(uninitialised) {}
  void block_starts(const Block& block);
  void access(Warp& warp, const Instruction& in, uint32_t mask, uint32_t bytes, Access access,
              const uint64_t* at);
  void warp_synchronises(const Warp& warp);
  void barrier_arrives(const Warp& warp, uint32_t id);
  void barrier_releases(const Block& block, uint32_t id);

 private:
  struct Stamp {
    uint32_t thread = kNone, clock = 0, instruction = 0;
    bool strong = false;
  };
  struct Cell {
    Stamp writer, reader, other_reader;
    bool initialised = false;
  };
  struct BlockState {
    std::vector<Cell> cells;
    std::vector<std::vector<uint32_t>>
        known;  // [warp][other warp]: clock up to which the other is ordered before
    std::vector<uint32_t> published[16];  // by barrier: what the arrived warps know
  };
  bool ordered(const BlockState& state, const Stamp& before, uint32_t thread, bool strong) const;
  [[noreturn]] void report(Warp& warp, const Instruction& in, int lane, uint64_t offset,
                           const Stamp& other, const char* kind) const;

  const bool races_, uninitialised_;
  std::unordered_map<const Block*, BlockState> blocks_;
};

// Blocks of one launch in global memory. What a block did before a fence is ordered before what
// another block does after it has read, atomically or by a volatile load, the address at which the
// first did an atomic after the fence.
class GlobalRaceCheck {
 public:
  explicit GlobalRaceCheck(uint64_t blocks)
      : blocks_(blocks), epoch_(blocks, 1), fenced_(blocks, 0) {}
  void access(Warp& warp, const Instruction& in, uint32_t mask, uint32_t bytes, Access access,
              const uint64_t* at);
  void fence(const Block& block);
  void block_starts(const Block& block) { started_.push_back(static_cast<uint32_t>(block.number)); }

 private:
  struct Stamp {
    uint32_t block = kNone, epoch = 0, instruction = 0, thread = 0;
    bool strong = false;
  };
  struct Cell {
    Stamp writer, reader;
    bool many_readers = false;
  };
  void synchronise(uint32_t block, uint64_t address, bool release);
  bool ordered(const Stamp& before, uint32_t block) const;
  bool after_all_others(uint32_t block) const;
  [[noreturn]] void report(Warp& warp, const Instruction& in, int lane, uint64_t address,
                           const Stamp& other, const char* kind) const;

  const uint64_t blocks_;
  std::vector<uint32_t> epoch_, fenced_, started_;
  std::unordered_map<uint32_t, std::vector<uint32_t>>
      known_;  // by block: epoch of each other block ordered before it
  std::unordered_map<uint64_t, std::vector<uint32_t>> published_;  // by address
  PageMap<Cell> cells_;
};

}  // namespace flyball::simulated_gpu

#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/device_memory.h"
#include "tests/simulated_gpu/program.h"
#include "tests/simulated_gpu/simulator.h"

// What exists while a launch runs.
namespace flyball::simulated_gpu {

class Observer;
struct Block;
struct Worker;

// One launch of a program, shared by all of its blocks.
struct Launch {
  const Program& program;
  const std::map<int, std::string>& files;  // of .loc, by number
  Dim3 grid, block;
  uint32_t threads = 0, warps = 0;  // a block
  uint64_t blocks = 0;
  uint32_t shared_bytes = 0, dynamic_shared_bytes = 0;
  const uint8_t* parameters = nullptr;
  const MemorySnapshot& memory;
  const Options& options;
  Observer* observer = nullptr;  // null unless a check on request or a counter needs every access
  uint64_t grid_workspace = 0;   // of cooperative launches
  const TrackedMemory* device = nullptr;  // for messages
  std::atomic<uint64_t> clock{0};

  std::string describe_memory(uint64_t address, uint32_t bytes) const {
    return device->describe(address, bytes);
  }
};

// A host thread that runs blocks.
struct Worker {
  Launch& launch;
  std::vector<Allocation> cache;  // by Instruction::slot: the allocation it touched last
  uint64_t warp_instructions = 0, thread_instructions = 0, divergent_branches = 0;
  uint64_t random = 0;
};

// Lanes that run together. Divergence splits the top entry; a side ends where the sides meet again.
struct StackEntry {
  uint32_t pc, mask, reconverge, depth;  // depth of calls
};

// A cp.async that has been issued and not waited for, of one lane.
struct PendingCopy {
  uint8_t* to;
  const uint8_t* from;
  uint32_t bytes, source_bytes, lane, group;
  const Instruction* instruction;
};

struct alignas(64) Warp {
  uint8_t* frame = nullptr;
  uint32_t* predicates = nullptr;
  uint32_t dead = 0;   // lanes that do not exist or have exited
  uint32_t carry = 0;  // the carry flag of add.cc and friends, a bit a lane
  Block* block = nullptr;
  Worker* worker = nullptr;
  Observer* observer = nullptr;
  uint8_t* local = nullptr;  // 32 threads' local memory, one after the other
  uint32_t index = 0, exists = 0;
  const Instruction* waits_at = nullptr;  // a barrier
  uint32_t wait_mask = 0;
  uint32_t barrier = 0;
  std::vector<StackEntry> stack;
  std::vector<PendingCopy> copies;
  uint32_t copy_groups[32] = {};  // committed, by lane

  template <class T>
  T* row(uint32_t offset) const {
    return reinterpret_cast<T*>(__builtin_assume_aligned(frame + offset, 64));
  }
  uint32_t alive() const { return ~dead; }
  [[noreturn]] void fault(const Instruction& at, int lane, const std::string& what) const;
};

struct Barrier {
  uint32_t arrived = 0, expected = 0;  // warps; expected 0: all of the block
  uint64_t waiting = 0;                // warps that wait
  const Instruction* first = nullptr;
  uint32_t count = 0;  // of barrier_reduce
  bool all = true, any = false;
  std::vector<uint32_t> participants;
};

struct Block {
  Launch& launch;
  Worker& worker;
  Dim3 index;
  uint64_t number = 0;
  uint8_t* shared = nullptr;
  uint32_t shared_bytes = 0;
  std::vector<Warp> warps;
  Barrier barriers[16];
  std::vector<uint32_t> order;
  uint32_t round = 0;

  Block(Launch& launch, Worker& worker);
  Block(const Block&) = delete;
  void start(uint64_t number);
  // Runs warps until all have exited (true) or, after slices, all that can run have run a while
  // (false).
  bool run(bool until_done);

 private:
  enum class Stop { exited, waits, slice };
  Stop run_warp(Warp& warp, uint64_t budget);
  void diverge(Warp& warp, const Instruction& in, uint32_t pc, uint32_t taken, uint32_t rest);
  void branch_table(Warp& warp, const Instruction& in, uint32_t pc, uint32_t mask);
  void leave(Warp& warp, uint32_t lanes, uint32_t depth);
  void arrive(Warp& warp, const Instruction& in, uint32_t mask);
  void release(Barrier& barrier, uint32_t id);
  void check_barriers();
  void shuffle_order();

  struct Free {
    void operator()(uint8_t* p) const;
  };
  std::unique_ptr<uint8_t[], Free> frames_, shared_memory_, local_memory_;
};

std::string demangled(std::string_view name);
// "gemm.cu:12 (ld.global.f32, PTX line 34)"
std::string describe(const Launch& launch, const Instruction& at);
std::string describe_thread(const Launch& launch, uint64_t block, uint32_t thread);

}  // namespace flyball::simulated_gpu

#include <bit>
#include <cstring>

#include "tests/simulated_gpu/observer.h"
#include "tests/simulated_gpu/rows.h"

namespace flyball::simulated_gpu {
namespace {

// Runs an instruction that computes whole rows, and puts back the lanes that are not active.
void run_partly(Warp& w, const Instruction& in, uint32_t mask) {
  alignas(64) uint8_t saved[256];
  const size_t bytes = size_t{32} * in.width;
  std::memcpy(saved, w.frame + in.d, bytes);
  in.run(w, in, mask);
  if (in.width == 4)
    restore_lanes(w.row<uint32_t>(in.d), reinterpret_cast<const uint32_t*>(saved), mask);
  else if (in.width == 8)
    restore_lanes(w.row<uint64_t>(in.d), reinterpret_cast<const uint64_t*>(saved), mask);
  else
    restore_lanes(w.row<uint16_t>(in.d), reinterpret_cast<const uint16_t*>(saved), mask);
}

}  // namespace

// Runs until the warp has exited, waits at a barrier, or has executed `budget` instructions.
Block::Stop Block::run_warp(Warp& w, uint64_t budget) {
  const Instruction* code = launch.program.code.data();
  uint64_t left = budget, threads = 0;
  Stop stop = Stop::slice;
  while (!w.stack.empty()) {
    StackEntry& top = w.stack.back();
    uint32_t pc = top.pc;
    const uint32_t active = top.mask, reconverge = top.reconverge;
    bool same_entry = active != 0 && pc != reconverge;
    if (!same_entry) {
      w.stack.pop_back();
      continue;
    }
    // This entry's lanes run together until they end, diverge, call, or reach the point where they
    // meet others.
    while (same_entry) {
      const Instruction& in = code[pc];
      const uint32_t mask = active & (w.predicates[in.guard] ^ in.guard_flip);
      threads += static_cast<uint64_t>(std::popcount(mask));
      --left;
      switch (in.control) {
        case Control::row:
          if ((mask | w.dead) == ~0u)
            in.run(w, in, mask);
          else if (mask)
            run_partly(w, in, mask);
          ++pc;
          break;
        case Control::masked:
          if (mask) in.run(w, in, mask);
          ++pc;
          break;
        case Control::branch:
          if (mask == active) {
            pc = in.target;
          } else if (mask == 0) {
            ++pc;
          } else {
            diverge(w, in, pc, mask, active & ~mask);
            same_entry = false;
          }
          break;
        case Control::branch_table:
          branch_table(w, in, pc, mask);
          same_entry = false;
          break;
        case Control::call: {
          top.pc = pc + 1;
          const uint32_t depth = top.depth + 1;
          if (mask) w.stack.push_back({in.target, mask, kNone, depth});
          same_entry = false;
          break;
        }
        case Control::ret:
        case Control::exit: {
          top.pc = pc + 1;
          const uint32_t depth = top.depth;
          if (in.control == Control::exit) {
            w.dead |= mask;
            if (!w.copies.empty() && mask) w.copies.clear();
            leave(w, mask, 0);
          } else {
            leave(w, mask, depth);
          }
          same_entry = false;
          break;
        }
        case Control::barrier:
        case Control::barrier_reduce:
        case Control::barrier_arrive:
          ++pc;
          if (!mask) break;
          top.pc = pc;
          arrive(w, in, mask);
          if (w.waits_at) {
            stop = Stop::waits;
            goto done;
          }
          break;
        case Control::yield:
          top.pc = pc + 1;
          goto done;
      }
      if (same_entry && pc == reconverge) {
        w.stack.pop_back();
        same_entry = false;
      }
      if (left == 0) {
        if (same_entry) top.pc = pc;
        goto done;
      }
    }
  }
  stop = Stop::exited;
done:
  worker.warp_instructions += budget - left;
  worker.thread_instructions += threads;
  return stop;
}

// The top entry's lanes part: `taken` go to the target, `rest` to the next instruction, until they
// meet at the branch's post-dominator. Lanes that are there already wait in the entry below.
void Block::diverge(Warp& w, const Instruction& in, uint32_t pc, uint32_t taken, uint32_t rest) {
  ++worker.divergent_branches;
  StackEntry& top = w.stack.back();
  const uint32_t meet = in.reconverge, depth = top.depth;
  if (meet != kNone && meet != top.reconverge)
    top.pc = meet;
  else
    w.stack.pop_back();
  if (pc + 1 != meet) w.stack.push_back({pc + 1, rest, meet, depth});
  if (in.target != meet) w.stack.push_back({in.target, taken, meet, depth});
}

void Block::branch_table(Warp& w, const Instruction& in, uint32_t pc, uint32_t mask) {
  const uint32_t* index = w.row<uint32_t>(in.a);
  const uint32_t* targets = &launch.program.extras[in.extra];
  StackEntry& top = w.stack.back();
  const uint32_t meet = in.reconverge, depth = top.depth, rest = top.mask & ~mask;
  uint32_t left = mask;
  for_active(mask, [&](int l) {
    if (index[l] >= in.target)
      w.fault(in, l,
              "brx.idx: index " + std::to_string(index[l]) + " of a table of " +
                  std::to_string(in.target));
  });
  if (rest == 0 && mask) {  // uniform?
    bool uniform = true;
    const uint32_t target = targets[index[std::countr_zero(mask)]];
    for_active(mask, [&](int l) { uniform &= targets[index[l]] == target; });
    if (uniform) {
      top.pc = target;
      return;
    }
  }
  ++worker.divergent_branches;
  if (meet != kNone && meet != top.reconverge)
    top.pc = meet;
  else
    w.stack.pop_back();
  if (rest && pc + 1 != meet) w.stack.push_back({pc + 1, rest, meet, depth});
  while (left) {
    const uint32_t target = targets[index[std::countr_zero(left)]];
    uint32_t lanes = 0;
    for_active(left, [&](int l) { lanes |= uint32_t{targets[index[l]] == target} << l; });
    left &= ~lanes;
    if (target != meet) w.stack.push_back({target, lanes, meet, depth});
  }
}

// Lanes that exit, or return from a call at `depth`, run no more in any entry of that depth or
// deeper.
void Block::leave(Warp& w, uint32_t lanes, uint32_t depth) {
  for (StackEntry& entry : w.stack)
    if (entry.depth >= depth) entry.mask &= ~lanes;
  while (!w.stack.empty() && w.stack.back().mask == 0) w.stack.pop_back();
}

}  // namespace flyball::simulated_gpu

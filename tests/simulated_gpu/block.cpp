#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "tests/simulated_gpu/observer.h"

namespace flyball::simulated_gpu {
namespace {

constexpr uint64_t kSlice =
    1 << 16;  // instructions before another warp gets its turn, so that spinning warps end

uint8_t* aligned_bytes(size_t bytes) {
  return static_cast<uint8_t*>(
      std::aligned_alloc(256, std::max<size_t>(256, (bytes + 255) / 256 * 256)));
}

template <class T>
void fill(uint8_t* at, uint64_t value) {
  std::fill_n(reinterpret_cast<T*>(at), 32, static_cast<T>(value));
}
void fill_row(uint8_t* at, uint32_t width, uint64_t value) {
  if (width == 2)
    fill<uint16_t>(at, value);
  else if (width == 4)
    fill<uint32_t>(at, value);
  else
    fill<uint64_t>(at, value);
}
void put_lane(uint8_t* at, uint32_t width, uint32_t lane, uint64_t value) {
  std::memcpy(at + static_cast<size_t>(lane) * width, &value, width);
}

uint64_t next_random(uint64_t& state) {  // splitmix64
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

bool is_of_block(Special which) {  // others are the same in every block
  return which == Special::ctaid_x || which == Special::ctaid_y || which == Special::ctaid_z;
}

// Lane values of a special register, of a thread of a block.
uint64_t special_value(const Launch& launch, const Block& block, Special which, uint32_t warp,
                       uint32_t lane) {
  const uint32_t thread = warp * 32 + lane;
  const Dim3 &b = launch.block, &g = launch.grid;
  switch (which) {
    case Special::tid_x:
      return thread % b.x;
    case Special::tid_y:
      return thread / b.x % b.y;
    case Special::tid_z:
      return thread / b.x / b.y;
    case Special::ntid_x:
      return b.x;
    case Special::ntid_y:
      return b.y;
    case Special::ntid_z:
      return b.z;
    case Special::ctaid_x:
      return block.index.x;
    case Special::ctaid_y:
      return block.index.y;
    case Special::ctaid_z:
      return block.index.z;
    case Special::nctaid_x:
      return g.x;
    case Special::nctaid_y:
      return g.y;
    case Special::nctaid_z:
      return g.z;
    case Special::laneid:
      return lane;
    case Special::warpid:
      return warp;
    case Special::nwarpid:
      return launch.warps;
    case Special::lanemask_eq:
      return 1u << lane;
    case Special::lanemask_lt:
      return (1u << lane) - 1;
    case Special::lanemask_le:
      return static_cast<uint32_t>((uint64_t{2} << lane) - 1);
    case Special::lanemask_gt:
      return static_cast<uint32_t>(~((uint64_t{2} << lane) - 1));
    case Special::lanemask_ge:
      return ~((1u << lane) - 1);
    case Special::dynamic_smem_size:
      return launch.dynamic_shared_bytes;
    case Special::total_smem_size:
      return launch.shared_bytes;
    case Special::envreg_1:
      return launch.grid_workspace >> 32;
    case Special::envreg_2:
      return launch.grid_workspace & 0xFFFFFFFF;
    case Special::warp_size:
      return 32;
    case Special::gridid:
    case Special::zero:
      return 0;
  }
  return 0;
}

}  // namespace

void Block::Free::operator()(uint8_t* p) const { std::free(p); }

Block::Block(Launch& the_launch, Worker& the_worker) : launch(the_launch), worker(the_worker) {
  const Program& program = launch.program;
  // Frames of different warps start at different cache sets.
  const size_t predicates = (size_t{program.predicates} * 4 + 63) / 64 * 64;
  const size_t frame = (program.frame_bytes + predicates + 255) / 256 * 256 + 64;
  frames_.reset(aligned_bytes(frame * launch.warps));
  shared_bytes = launch.shared_bytes;
  shared_memory_.reset(aligned_bytes(shared_bytes));
  shared = shared_memory_.get();
  local_memory_.reset(aligned_bytes(size_t{program.local_bytes} * 32 * launch.warps));
  warps.resize(launch.warps);
  order.resize(launch.warps);
  for (uint32_t i = 0; i < launch.warps; ++i) {
    Warp& w = warps[i];
    w.frame = frames_.get() + frame * i;
    w.predicates = reinterpret_cast<uint32_t*>(w.frame + program.frame_bytes);
    w.block = this;
    w.worker = &worker;
    w.observer = launch.observer;
    w.local = local_memory_.get() + size_t{program.local_bytes} * 32 * i;
    w.index = i;
    const uint32_t threads = launch.threads - i * 32;
    w.exists = threads >= 32 ? ~0u : (1u << threads) - 1;
    for (const auto& constant : program.constants)
      fill_row(w.frame + constant.offset, constant.width, constant.value);
    for (const auto& special : program.specials)
      for (uint32_t l = 0; l < 32; ++l)
        put_lane(w.frame + special.offset, special.width, l,
                 special_value(launch, *this, special.which, i, l));
  }
}

void Block::start(uint64_t the_number) {
  const Program& program = launch.program;
  number = the_number;
  index = {static_cast<uint32_t>(number % launch.grid.x),
           static_cast<uint32_t>(number / launch.grid.x % launch.grid.y),
           static_cast<uint32_t>(number / launch.grid.x / launch.grid.y)};
  round = 0;
  std::memset(shared, 0xFF, shared_bytes);
  for (Barrier& barrier : barriers) barrier = {};
  std::iota(order.begin(), order.end(), 0u);
  worker.random = launch.options.seed * 0x100000001B3u + number + 1;
  for (Warp& w : warps) {
    std::memset(w.frame, 0xFF, program.register_bytes);
    std::memset(w.predicates, 0, size_t{program.predicates} * 4);
    w.predicates[kAlways] = ~0u;
    std::memset(w.local, 0xFF, size_t{program.local_bytes} * 32);
    w.dead = ~w.exists;
    w.carry = 0;
    w.waits_at = nullptr;
    w.copies.clear();
    std::fill_n(w.copy_groups, 32, 0u);
    w.stack.assign(1, {0, w.exists, kNone, 0});
    for (const auto& special : program.specials)
      if (is_of_block(special.which))
        fill_row(w.frame + special.offset, special.width,
                 special_value(launch, *this, special.which, 0, 0));
  }
  if (launch.observer) launch.observer->block_starts(*this);
}

void Block::shuffle_order() {
  const auto n = static_cast<uint32_t>(order.size());
  switch (launch.options.warp_order) {
    case WarpOrder::kForward:
      break;
    case WarpOrder::kReverse:
      for (uint32_t i = 0; i < n; ++i) order[i] = n - 1 - i;
      break;
    case WarpOrder::kRandom:
      for (uint32_t i = n; i > 1; --i)
        std::swap(order[i - 1], order[next_random(worker.random) % i]);
      break;
    case WarpOrder::kOneAhead:  // a different warp each round, the others in order after it
      std::iota(order.begin(), order.end(), 0u);
      std::rotate(order.begin(), order.begin() + round % n, order.begin() + round % n + 1);
      break;
  }
  ++round;
}

bool Block::run(bool until_done) {
  const bool random = launch.options.warp_order == WarpOrder::kRandom;
  for (;;) {
    shuffle_order();
    bool ran = false, exited = true, sliced = false;
    for (const uint32_t i : order) {
      Warp& w = warps[i];
      if (w.stack.empty()) continue;
      exited = false;
      if (w.waits_at) continue;
      ran = true;
      sliced |= run_warp(w, random ? 1 + next_random(worker.random) % 256 : kSlice) == Stop::slice;
    }
    if (exited) return true;
    if (!ran) check_barriers();
    if (!until_done && sliced) return false;
  }
}

// No warp can run: either the exits of others completed a barrier, which is an error, or nothing
// ever will.
void Block::check_barriers() {
  for (uint32_t id = 0; id < 16; ++id) {
    const Barrier& barrier = barriers[id];
    if (!barrier.waiting) continue;
    const Warp& w = warps[static_cast<size_t>(std::countr_zero(barrier.waiting))];
    uint32_t gone = 0;
    for (const Warp& other : warps)
      gone += static_cast<uint32_t>(std::popcount(other.exists & other.dead));
    const std::string what =
        gone ? std::to_string(gone) + " of " + std::to_string(launch.threads) +
                   " threads exited before a barrier that the others wait at"
             : std::string("deadlock: warps wait at barriers that never complete");
    w.fault(*w.waits_at, std::countr_zero(w.wait_mask),
            what + " (barrier " + std::to_string(id) + ")");
  }
}

void Block::arrive(Warp& w, const Instruction& in, uint32_t mask) {
  const int lane = std::countr_zero(mask);
  if (mask != w.alive()) {
    char text[160];
    std::snprintf(text, sizeof text, "barrier in divergent code: reached by lanes %08x of %08x",
                  mask, w.alive());
    w.fault(in, lane, text);
  }
  if (const uint32_t exited = w.exists & w.dead)
    w.fault(
        in, lane,
        std::to_string(std::popcount(exited)) + " lanes of the warp exited before this barrier");
  const uint32_t id = w.row<uint32_t>(in.a)[lane];
  if (id >= 16) w.fault(in, lane, "barrier " + std::to_string(id) + " does not exist");
  uint32_t expected = launch.warps;
  if (in.offset) {
    const uint32_t threads = w.row<uint32_t>(in.b)[lane];
    if (threads == 0 || threads % 32 || threads / 32 > launch.warps)
      w.fault(in, lane,
              "a barrier for " + std::to_string(threads) + " threads in a block of " +
                  std::to_string(launch.threads));
    expected = threads / 32;
  }
  Barrier& barrier = barriers[id];
  if (barrier.arrived == 0) {
    barrier = {};
    barrier.expected = expected;
    barrier.first = &in;
  } else if (barrier.expected != expected) {
    w.fault(in, lane,
            "this barrier expects " + std::to_string(expected * 32) + " threads, but " +
                describe(launch, *barrier.first) + " expects " +
                std::to_string(barrier.expected * 32));
  } else if (barrier.first != &in && !in.offset) {
    w.fault(in, lane,
            "barrier in divergent code: other warps of the block wait at " +
                describe(launch, *barrier.first));
  }
  if (launch.observer) launch.observer->barrier_arrives(w, id);
  ++barrier.arrived;
  barrier.participants.push_back(w.index);
  if (in.control == Control::barrier_reduce) {
    const uint32_t vote = (w.predicates[in.target] ^ in.reconverge) & mask;
    barrier.count += static_cast<uint32_t>(std::popcount(vote));
    barrier.all &= vote == mask;
    barrier.any |= vote != 0;
  }
  if (in.control != Control::barrier_arrive) {
    w.waits_at = &in;
    w.wait_mask = mask;
    w.barrier = id;
    barrier.waiting |= uint64_t{1} << w.index;
  }
  if (barrier.arrived == barrier.expected) release(barrier, id);
}

void Block::release(Barrier& barrier, uint32_t id) {
  if (launch.observer) launch.observer->barrier_releases(*this, id);
  for (uint64_t waiting = barrier.waiting; waiting; waiting &= waiting - 1) {
    Warp& w = warps[static_cast<size_t>(std::countr_zero(waiting))];
    const Instruction& in = *w.waits_at;
    if (in.control == Control::barrier_reduce) {
      if (in.flags == 1) {
        for (uint32_t l = 0; l < 32; ++l)
          if (w.wait_mask >> l & 1) w.row<uint32_t>(in.d)[l] = barrier.count;
      } else {
        uint32_t& d = w.predicates[in.d];
        d = (in.flags == 2 ? barrier.all : barrier.any) ? d | w.wait_mask : d & ~w.wait_mask;
      }
    }
    w.waits_at = nullptr;
  }
  barrier = {};
}

}  // namespace flyball::simulated_gpu

#pragma once

#include "tests/simulated_gpu/observer.h"
#include "tests/simulated_gpu/rows.h"

namespace flyball::simulated_gpu {

// Host addresses of the lanes' accesses of `bytes` each, all of them inside one live allocation (or
// the window of the space) and aligned, or a Fault. Lanes that are not active get the address of
// one that is. True if lane l is at at[0] + l * bytes.
bool resolve(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes, uint64_t* at);

// The window of an address space that a generic address may point into besides allocations; faults
// if there is none.
void check_generic(Warp& w, const Instruction& in, int lane, uint64_t address, uint32_t bytes);

// Parts of a memory opcode that say nothing to the simulator: cache hints and scopes.
bool is_hint(std::string_view part);
bool parse_space(std::string_view part, Space& space);  // "shared::cta"

inline void observe(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes, Access access,
                    const uint64_t* at) {
  if (w.observer) w.observer->access(w, in, mask, bytes, access, at);
}

}  // namespace flyball::simulated_gpu

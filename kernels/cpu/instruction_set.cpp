#include "kernels/cpu/instruction_set.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernels/error.h"

namespace flyball::cpu {
namespace {

constexpr InstructionSet kAll[] = {InstructionSet::kAvx512, InstructionSet::kAvx2,
                                   InstructionSet::kPortable};

InstructionSet best() {
  for (const InstructionSet set : kAll) {
    if (has_instruction_set(set)) return set;
  }
  return InstructionSet::kPortable;
}

InstructionSet initial() {
  const char* name = std::getenv("FLYBALL_CPU_ISA");
  if (name == nullptr || *name == '\0') return best();
  for (const InstructionSet set : kAll) {
    if (std::string_view(name) != name_of(set)) continue;
    if (has_instruction_set(set)) return set;
    throw Error(str("FLYBALL_CPU_ISA is ", name, ", but this machine does not have it"));
  }
  throw Error(str("FLYBALL_CPU_ISA is \"", name, "\", expected portable, avx2 or avx512"));
}

std::atomic<InstructionSet>& current() {
  static std::atomic<InstructionSet> set{initial()};
  return set;
}

}  // namespace

bool has_instruction_set(InstructionSet set) {
#ifdef __x86_64__
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (set == InstructionSet::kAvx2) return avx2;
  if (set == InstructionSet::kAvx512) {
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return set == InstructionSet::kPortable;
}

InstructionSet instruction_set() { return current().load(std::memory_order_relaxed); }

void set_instruction_set(InstructionSet set) {
  if (!has_instruction_set(set)) {
    throw Error(str("set_instruction_set: this machine does not have ", name_of(set)));
  }
  current().store(set, std::memory_order_relaxed);
}

const char* name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kPortable:
      break;
  }
  return "portable";
}

}  // namespace flyball::cpu

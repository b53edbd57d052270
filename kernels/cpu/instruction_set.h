#pragma once

namespace flyball::cpu {

// What kernels with a version of their own for each instruction set are compiled for: 4, 8 and 16
// floats at once, the last two with fused multiply-adds. The best that the machine has, unless
// FLYBALL_CPU_ISA is portable, avx2 or avx512.
enum class InstructionSet { kPortable, kAvx2, kAvx512 };

bool has_instruction_set(InstructionSet);
InstructionSet instruction_set();
void set_instruction_set(InstructionSet);  // throws Error where the machine does not have it
const char* name_of(InstructionSet);

}  // namespace flyball::cpu

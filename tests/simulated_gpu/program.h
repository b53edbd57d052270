#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

// A kernel decoded for execution: flat instructions whose operands are byte offsets into a warp's
// frame.
//
// A register of a warp is a row of 32 lanes of 2, 4 or 8 bytes; constants and special registers are
// rows too. Predicates are one 32-bit mask each. Functions that the kernel calls are part of its
// program, each with rows of its own (no recursion).
namespace flyball::simulated_gpu {

struct Warp;
struct Instruction;
using Handler = void (*)(Warp&, const Instruction&, uint32_t mask);

enum class Control : uint8_t {
  row,     // computes its whole destination row; the executor restores lanes that are not active
  masked,  // the handler itself respects the mask
  branch,
  branch_table,
  call,
  ret,
  exit,
  barrier,
  barrier_arrive,
  barrier_reduce,
  yield
};

enum class Space : uint8_t { generic, global, shared, local, parameter };

constexpr uint32_t kNone = ~0u;
constexpr uint32_t kAlways = 0;  // the predicate that is always true

struct Instruction {
  Handler run = nullptr;
  uint32_t d = 0, a = 0, b = 0, c = 0;  // offsets of rows, or numbers of predicates
  uint32_t guard = kAlways;             // executed where predicates[guard] ^ guard_flip
  uint32_t guard_flip = 0;
  Control control = Control::row;
  uint8_t width = 0;  // bytes a lane of row d, for Control::row
  Space space = Space::generic;
  uint8_t flags = 0;   // meaning is the handler's
  uint32_t extra = 0;  // first of this instruction's entries in Program::extras
  uint32_t index = 0;  // in Program::code
  uint32_t slot = 0;   // memory instructions: which cached allocation
  int64_t offset = 0;  // of an address
  uint32_t target = 0, reconverge = kNone;  // branches
};

// Instruction::flags of memory instructions.
constexpr uint8_t kAddress32 = 1, kStrong = 2, kRelease = 4, kAtomic = 8;

struct SourceLine {
  std::string_view text;  // the opcode
  std::string_view function;
  int ptx_line = 0, file = 0, line = 0;
};

enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  dynamic_smem_size,
  total_smem_size,
  envreg_1,
  envreg_2,
  zero,
  warp_size,
  gridid
};

struct Program {
  std::string name;
  std::vector<Instruction> code;
  std::vector<SourceLine> lines;  // of code
  std::vector<uint32_t> extras;
  struct Constant {
    uint32_t offset, width;
    uint64_t value;
  };
  std::vector<Constant> constants;
  struct SpecialRow {
    uint32_t offset, width;
    Special which;
  };
  std::vector<SpecialRow> specials;
  uint32_t register_bytes = 0, frame_bytes = 0, predicates = 1, slots = 0;
  uint32_t shared_bytes = 0, local_bytes = 0, parameter_bytes = 0;
  uint32_t max_threads = 1024;
  struct Parameter {
    uint32_t offset, bytes;
  };
  std::vector<Parameter> parameters;
};

// Addresses of a module's variables, as host pointers.
using SymbolTable = std::unordered_map<std::string_view, uint64_t>;

struct ParsedModule;
struct Function;
// Throws Fault, with the PTX line, for what is not covered.
std::unique_ptr<Program> decode(const ParsedModule& module, const Function& kernel,
                                const SymbolTable& symbols);

}  // namespace flyball::simulated_gpu

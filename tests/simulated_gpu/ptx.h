#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

// The text of a PTX module as a tree. Names are views into the module's text, which must outlive
// it.
namespace flyball::simulated_gpu {

enum class Type : uint8_t {
  none,
  pred,
  b8,
  b16,
  b32,
  b64,
  b128,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  f16x2,
  bf16,
  bf16x2,
  tf32,
  f32,
  f64
};
Type type_of(std::string_view name);  // "f32"; none if it is not a type
int size_of(Type type);               // bytes

struct Operand {
  enum class Kind : uint8_t {
    sink,
    reg,
    immediate,
    symbol,
    vector,
    pair,
    address
  } kind = Kind::sink;
  bool negated = false;   // !p
  int reg = -1;           // index into Function::registers: kind reg, or the base of an address
  uint64_t value = 0;     // kind immediate: the bits
  std::string_view name;  // kind symbol, special registers included; or the symbol in an address
  int64_t offset = 0;     // added to a symbol or an address
  std::vector<Operand> list;  // elements of {a, b} and of p|q
};

struct Statement {
  std::string_view opcode;  // all of it: "ld.global.nc.v4.f32"
  int guard = -1;           // register of @p
  bool guard_negated = false;
  std::vector<Operand> operands;
  std::vector<int> targets;                          // statements that bra and brx may go to
  std::string_view callee;                           // of call
  std::vector<std::string_view> arguments, results;  // .param variables of call
  int line = 0;                                      // of the PTX
  int source_file = 0, source_line = 0;              // .loc

  bool has(std::string_view modifier) const;  // ".modifier" occurs in the opcode
  std::vector<std::string_view> parts() const;
};

struct Variable {
  std::string_view name;
  Type type = Type::b8;
  uint64_t count = 1;
  uint32_t align = 1;
  bool open = false;             // [] of external shared memory
  std::vector<uint8_t> initial;  // empty: zeros
  uint64_t bytes() const { return count * static_cast<uint64_t>(size_of(type)); }
  struct AddressOf {
    uint64_t at;
    std::string_view symbol;
    int64_t offset;
  };
  std::vector<AddressOf> addresses;  // initialisers that are addresses of other variables
  int line = 0;
};

struct Register {
  std::string_view name;  // of a range "%r<8>": its prefix
  int number = -1;        // within a range
  Type type;
};

struct Function {
  std::string_view name;
  bool is_kernel = false, has_body = false;
  std::vector<Variable> parameters, results;
  std::vector<Variable> shared, local, call_parameters;
  std::vector<Register> registers;
  std::vector<Statement> statements;
  uint32_t max_threads = 1024;
  int line = 0;
};

struct ParsedModule {
  std::vector<Variable> globals, constants, shared;
  std::map<std::string_view, Function> functions;
  std::map<int, std::string> files;  // .file
};

ParsedModule parse_ptx(std::string_view text);  // throws Fault

}  // namespace flyball::simulated_gpu

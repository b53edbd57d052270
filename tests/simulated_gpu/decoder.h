#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/simulated_gpu/program.h"
#include "tests/simulated_gpu/ptx.h"

namespace flyball::simulated_gpu {

enum class Field : uint8_t { d, a, b, c, extra };

// An instruction whose operands are still numbers of rows.
struct Draft {
  Instruction in;
  struct Use {
    Field field;
    uint32_t extra;  // index into Program::extras, for Field::extra
    int row;
    bool defines;
  };
  std::vector<Use> uses;
  bool separate = false;  // the handler writes one destination before it has read every source
  int statement = 0;
  std::vector<int> targets;  // statements; drafts once resolved
  int callee = -1;           // index of a function, for Control::call
};

// A row of a warp's frame: a register, a constant or a special register.
struct Row {
  enum class Kind : uint8_t { reg, constant, special } kind = Kind::reg;
  uint8_t width = 4;
  uint64_t value = 0;
  Special special = Special::zero;
  uint32_t offset = kNone;
};

// A handler with the widths of its operands in bytes.
struct Entry {
  Handler run;
  uint8_t d, a, b, c;  // 0: no such operand
};
using Table = std::map<std::string, Entry, std::less<>>;

// Turns a kernel and the functions it calls into drafts. Families use it through the part that
// speaks of one statement.
class Decoder {
 public:
  Decoder(const ParsedModule& module, const Function& kernel, const SymbolTable& symbols);
  std::unique_ptr<Program> run();

  // The statement being decoded, and its instruction.
  const Statement& statement() const { return *statement_; }
  const Function& function() const { return *functions_[function_index_]; }
  Draft& draft() { return drafts_.back(); }
  Instruction& in() { return drafts_.back().in; }
  [[noreturn]] void fail(
      const std::string& what) const;  // "PTX line 12: kernel f: mma.sync...: what"
  const Operand& operand(size_t i) const;

  // Bind an operand to a field of the instruction. width 0: whatever the register has. Each returns
  // the width in bytes.
  int source(Field field, const Operand& operand, int width);
  int destination(Field field, const Operand& operand, int width);
  int constant(Field field, uint64_t value, int width);
  uint32_t new_extra(uint32_t value = 0);  // one more entry in Program::extras for this instruction
  void set_extra(uint32_t at, uint32_t value) { program_->extras[at] = value; }
  // [base + offset]: row a (field), Instruction::offset and kAddress32; space and slot are the
  // caller's.
  void address(Field field, const Operand& operand);
  uint32_t predicate(const Operand& operand) const;  // its number; negation is the caller's affair
  bool is_predicate(const Operand& operand) const;
  int width_of(const Operand& operand) const;  // of a register, else 0
  // A kernel's parameter, which lives apart; parameters of calls are local memory.
  bool is_kernel_parameter(std::string_view name) const;

  bool from_table(const Table& table);  // the whole opcode is a key: d, a, b, c in order
  Draft& add(Handler run, Control control);

 private:
  struct Symbol {
    Space space;
    uint64_t value;
  };
  struct FunctionLayout {
    std::unordered_map<std::string_view, Symbol> symbols;
    int first_row = 0, first_predicate = 0, first_draft = 0, end_draft = 0;
    std::vector<int> draft_of;  // by statement
  };

  void collect(const Function& function, std::vector<std::string_view>& path);
  void lay_out();
  void decode_function(size_t index);
  void decode_statement();
  bool decode_control();
  void decode_call();
  void call_builtin();
  void copy_parameter(uint64_t from, uint64_t to, uint64_t bytes);
  uint64_t local_address(std::string_view name) const;
  const Symbol* find_symbol(std::string_view name) const;
  int row_of(const Operand& operand, int width);
  int new_row(Row::Kind kind, int width, uint64_t value, Special special);
  void bind(Field field, int row, bool defines);
  void emit(Program& program);

  const ParsedModule& module_;
  const Function& kernel_;
  const SymbolTable& globals_;
  std::vector<const Function*> functions_;
  std::vector<FunctionLayout> layouts_;
  std::unordered_map<std::string_view, Symbol> module_symbols_;
  std::vector<Row> rows_;
  std::map<std::pair<int, uint64_t>, int> constants_, specials_;
  std::vector<Draft> drafts_;
  std::vector<size_t> draft_function_;
  std::unique_ptr<Program> program_;
  const Statement* statement_ = nullptr;
  size_t function_index_ = 0;
  uint32_t shared_bytes_ = 0, local_bytes_ = 0;
};

// The families. Each recognises its own statements and leaves the others alone (false).
bool decode_integer(Decoder& decoder);
bool decode_bits(Decoder& decoder);
bool decode_floating(Decoder& decoder);
bool decode_rounded(Decoder& decoder);
bool decode_half(Decoder& decoder);
bool decode_convert(Decoder& decoder);
bool decode_compare(Decoder& decoder);
bool decode_move(Decoder& decoder);
bool decode_memory_access(Decoder& decoder);
bool decode_atomic(Decoder& decoder);
bool decode_async_copy(Decoder& decoder);
bool decode_warp_level(Decoder& decoder);
bool decode_tensor_core(Decoder& decoder);
Handler parameter_copy_handler();
Handler printf_handler();
Handler assert_handler();

// control_flow.cpp. Drafts [first, end) of one function: where branches meet again, and which
// registers may share a row.
void find_reconvergence(std::vector<Draft>& drafts, int first, int end);
// Offsets for the register rows [first_row, end_row); returns the first free byte after them.
uint32_t assign_rows(const std::vector<Draft>& drafts, int first, int end, std::vector<Row>& rows,
                     int first_row, int end_row, uint32_t offset);

}  // namespace flyball::simulated_gpu

#include <algorithm>
#include <bit>

#include "tests/simulated_gpu/decoder.h"
#include "tests/simulated_gpu/execution.h"

namespace flyball::simulated_gpu {
namespace {

uint32_t align_up(uint64_t value, uint32_t align) {
  return static_cast<uint32_t>((value + align - 1) / align * align);
}

void trap(Warp& warp, const Instruction& in, uint32_t mask) {
  warp.fault(in, std::countr_zero(mask), "trap executed");
}

}  // namespace

std::unique_ptr<Program> decode(const ParsedModule& module, const Function& kernel,
                                const SymbolTable& symbols) {
  return Decoder(module, kernel, symbols).run();
}

Decoder::Decoder(const ParsedModule& module, const Function& kernel, const SymbolTable& symbols)
    : module_(module), kernel_(kernel), globals_(symbols) {}

std::unique_ptr<Program> Decoder::run() {
  program_ = std::make_unique<Program>();
  program_->name = std::string(kernel_.name);
  program_->max_threads = kernel_.max_threads;
  std::vector<std::string_view> path;
  collect(kernel_, path);
  lay_out();
  for (size_t i = 0; i < functions_.size(); ++i) decode_function(i);
  emit(*program_);
  return std::move(program_);
}

// The kernel first, then what it calls, each once.
void Decoder::collect(const Function& function, std::vector<std::string_view>& path) {
  if (std::find(path.begin(), path.end(), function.name) != path.end())
    fail("recursion of " + std::string(function.name) + " is not covered");
  if (std::find(functions_.begin(), functions_.end(), &function) == functions_.end())
    functions_.push_back(&function);
  path.push_back(function.name);
  for (const Statement& s : function.statements) {
    if (s.callee.empty()) continue;
    const auto callee = module_.functions.find(s.callee);
    if (callee != module_.functions.end() && callee->second.has_body) collect(callee->second, path);
  }
  path.pop_back();
}

// Addresses of parameters, shared and local variables; numbers of registers.
void Decoder::lay_out() {
  const auto place = [](const Variable& v, uint32_t& end) {
    const uint32_t at = align_up(end, std::max(1u, v.align));
    end = at + static_cast<uint32_t>(v.bytes());
    return at;
  };
  for (const auto& [name, address] : globals_) module_symbols_[name] = {Space::global, address};
  std::vector<std::string_view> used;
  for (const Function* f : functions_)
    for (const Statement& s : f->statements)
      for (const Operand& o : s.operands)
        if (!o.name.empty()) used.push_back(o.name);
  for (const Variable& v : module_.shared)
    if (!v.open && std::find(used.begin(), used.end(), v.name) != used.end())
      module_symbols_[v.name] = {Space::shared, place(v, shared_bytes_)};
  layouts_.resize(functions_.size());
  for (size_t i = 0; i < functions_.size(); ++i) {
    const Function& f = *functions_[i];
    FunctionLayout& layout = layouts_[i];
    for (const Variable& v : f.shared)
      if (!v.open) layout.symbols[v.name] = {Space::shared, place(v, shared_bytes_)};
    for (const Variable& v : f.local)
      layout.symbols[v.name] = {Space::local, place(v, local_bytes_)};
    // Each call names its parameters anew, often alike: the largest of a name is placed.
    std::map<std::string_view, Variable> largest;
    for (const Variable& v : f.call_parameters) {
      const auto [found, fresh] = largest.try_emplace(v.name, v);
      if (!fresh && v.bytes() > found->second.bytes())
        found->second.count = v.count, found->second.type = v.type;
      found->second.align = std::max(found->second.align, v.align);
    }
    for (const auto& [name, v] : largest)
      layout.symbols[name] = {Space::local, place(v, local_bytes_)};
    for (const Variable& v : f.results)
      layout.symbols[v.name] = {Space::local, place(v, local_bytes_)};
    for (const Variable& v : f.parameters) {
      if (!f.is_kernel) {
        layout.symbols[v.name] = {Space::local, place(v, local_bytes_)};
        continue;
      }
      const uint32_t at = place(v, program_->parameter_bytes);
      layout.symbols[v.name] = {Space::parameter, at};
      program_->parameters.push_back({at, static_cast<uint32_t>(v.bytes())});
    }
    layout.first_row = static_cast<int>(rows_.size());
    layout.first_predicate = static_cast<int>(program_->predicates);
    program_->predicates += static_cast<uint32_t>(f.registers.size());
    for (const Register& r : f.registers)
      new_row(Row::Kind::reg, std::max(2, size_of(r.type)), 0, Special::zero);
  }
  // Dynamic shared memory follows the static part.
  shared_bytes_ = align_up(shared_bytes_, 16);
  for (const Variable& v : module_.shared)
    if (v.open) {
      shared_bytes_ = align_up(shared_bytes_, std::max(16u, v.align));
      module_symbols_[v.name] = {Space::shared, shared_bytes_};
    }
  program_->shared_bytes = shared_bytes_;
  program_->local_bytes = align_up(local_bytes_, 16);
}

void Decoder::decode_function(size_t index) {
  function_index_ = index;
  FunctionLayout& layout = layouts_[index];
  layout.first_draft = static_cast<int>(drafts_.size());
  const auto& statements = function().statements;
  for (const Statement& s : statements) {
    statement_ = &s;
    layout.draft_of.push_back(static_cast<int>(drafts_.size()));
    decode_statement();
  }
  // A label may stand behind the last statement; nothing may run past it.
  layout.draft_of.push_back(static_cast<int>(drafts_.size()));
  Draft last;
  last.in.control = functions_[index]->is_kernel ? Control::exit : Control::ret;
  last.statement = std::max(0, static_cast<int>(statements.size()) - 1);
  drafts_.push_back(std::move(last));
  draft_function_.push_back(index);
  layout.end_draft = static_cast<int>(drafts_.size());
  for (int i = layout.first_draft; i < layout.end_draft; ++i)
    for (int& target : drafts_[static_cast<size_t>(i)].targets)
      target = layout.draft_of[static_cast<size_t>(target)];
  find_reconvergence(drafts_, layout.first_draft, layout.end_draft);
  statement_ = nullptr;
}

void Decoder::decode_statement() {
  if (decode_control() || decode_integer(*this) || decode_floating(*this) ||
      decode_memory_access(*this) || decode_move(*this) || decode_compare(*this) ||
      decode_convert(*this) || decode_bits(*this) || decode_half(*this) || decode_rounded(*this) ||
      decode_warp_level(*this) || decode_atomic(*this) || decode_async_copy(*this) ||
      decode_tensor_core(*this))
    return;
  fail("this instruction is not covered");
}

bool Decoder::decode_control() {
  const Statement& s = *statement_;
  const std::string_view op = s.opcode;
  if (op == "bra" || op == "bra.uni") {
    add(nullptr, Control::branch).targets = s.targets;
  } else if (op == "brx.idx" || op == "brx.idx.uni") {
    add(nullptr, Control::branch_table).targets = s.targets;
    source(Field::a, operand(0), 4);
  } else if (op == "ret" || op == "ret.uni") {
    add(nullptr, function().is_kernel ? Control::exit : Control::ret);
  } else if (op == "exit") {
    add(nullptr, Control::exit);
  } else if (op == "trap") {
    add(trap, Control::masked);
  } else if (op == "call" || op == "call.uni") {
    decode_call();
  } else if (op.starts_with("bar.") || op.starts_with("barrier.")) {
    for (const std::string_view part : s.parts()) {
      static constexpr std::string_view known[] = {"bar",     "barrier", "cta", "sync",
                                                   "aligned", "arrive",  "red", "popc",
                                                   "and",     "or",      "u32", "pred"};
      if (std::find(std::begin(known), std::end(known), part) == std::end(known)) return false;
    }
    const bool reduce = s.has("red");
    size_t i = reduce ? 1 : 0;
    Draft& draft = add(nullptr, reduce            ? Control::barrier_reduce
                                : s.has("arrive") ? Control::barrier_arrive
                                                  : Control::barrier);
    draft.in.flags = s.has("popc") ? 1 : s.has("and") ? 2 : s.has("or") ? 3 : 0;
    const size_t last = s.operands.size() - (reduce ? 1 : 0);
    source(Field::a, operand(i++), 4);
    if (i < last) {
      source(Field::b, operand(i++), 4);
      in().offset = 1;  // a count is given
    }
    if (reduce) {
      in().target = predicate(operand(last));
      in().reconverge = operand(last).negated ? ~0u : 0;
      if (in().flags == 1)
        destination(Field::d, operand(0), 4);
      else
        in().d = predicate(operand(0));
    }
  } else {
    return false;
  }
  return true;
}

uint64_t Decoder::local_address(std::string_view name) const {
  const Symbol* symbol = find_symbol(name);
  if (!symbol || symbol->space != Space::local)
    fail("'" + std::string(name) + "' is not a parameter of a call");
  return symbol->value;
}

void Decoder::copy_parameter(uint64_t from, uint64_t to, uint64_t bytes) {
  Draft& draft = add(parameter_copy_handler(), Control::masked);
  draft.in.a = static_cast<uint32_t>(from);
  draft.in.d = static_cast<uint32_t>(to);
  draft.in.b = static_cast<uint32_t>(bytes);
}

void Decoder::decode_call() {
  const Statement& s = *statement_;
  const auto found = module_.functions.find(s.callee);
  if (found == module_.functions.end())
    fail("an indirect call, or a call of an unknown function, is not covered");
  const Function& callee = found->second;
  if (!callee.has_body) return call_builtin();
  if (s.arguments.size() != callee.parameters.size() || s.results.size() != callee.results.size())
    fail("arguments do not match " + std::string(callee.name));
  const size_t index = static_cast<size_t>(
      std::find(functions_.begin(), functions_.end(), &callee) - functions_.begin());
  const auto& symbols = layouts_[index].symbols;
  for (size_t i = 0; i < s.arguments.size(); ++i)
    copy_parameter(local_address(s.arguments[i]), symbols.at(callee.parameters[i].name).value,
                   callee.parameters[i].bytes());
  add(nullptr, Control::call).callee = static_cast<int>(index);
  for (size_t i = 0; i < s.results.size(); ++i)
    copy_parameter(symbols.at(callee.results[i].name).value, local_address(s.results[i]),
                   callee.results[i].bytes());
}

void Decoder::call_builtin() {
  const Statement& s = *statement_;
  const bool print = s.callee == "vprintf";
  if (!print && s.callee != "__assertfail")
    fail("a call of '" + std::string(s.callee) + "' is not covered");
  add(print ? printf_handler() : assert_handler(), Control::masked);
  for (const std::string_view name : s.arguments)
    new_extra(static_cast<uint32_t>(local_address(name)));
}

void Decoder::emit(Program& program) {
  uint32_t offset = 0;
  for (size_t i = 0; i < functions_.size(); ++i) {
    const FunctionLayout& layout = layouts_[i];
    offset =
        assign_rows(drafts_, layout.first_draft, layout.end_draft, rows_, layout.first_row,
                    layout.first_row + static_cast<int>(functions_[i]->registers.size()), offset);
  }
  program.register_bytes = offset;
  for (Row& row : rows_) {
    if (row.kind == Row::Kind::reg) continue;
    row.offset = offset;
    offset += 32u * row.width;
    if (row.kind == Row::Kind::constant)
      program.constants.push_back({row.offset, row.width, row.value});
    else
      program.specials.push_back({row.offset, row.width, row.special});
  }
  program.frame_bytes = align_up(offset, 64);
  for (size_t i = 0; i < drafts_.size(); ++i) {
    Draft& draft = drafts_[i];
    for (const Draft::Use& use : draft.uses) {
      const uint32_t at = rows_[static_cast<size_t>(use.row)].offset;
      switch (use.field) {
        case Field::d:
          draft.in.d = at;
          break;
        case Field::a:
          draft.in.a = at;
          break;
        case Field::b:
          draft.in.b = at;
          break;
        case Field::c:
          draft.in.c = at;
          break;
        case Field::extra:
          program.extras[use.extra] = at;
          break;
      }
    }
    if (draft.callee >= 0)
      draft.in.target =
          static_cast<uint32_t>(layouts_[static_cast<size_t>(draft.callee)].first_draft);
    if (draft.in.control == Control::branch)
      draft.in.target = static_cast<uint32_t>(draft.targets.front());
    if (draft.in.control == Control::branch_table) {
      draft.in.extra = static_cast<uint32_t>(program.extras.size());
      draft.in.target = static_cast<uint32_t>(draft.targets.size());
      for (const int target : draft.targets)
        program.extras.push_back(static_cast<uint32_t>(target));
    }
    draft.in.index = static_cast<uint32_t>(i);
    draft.in.slot = draft.in.slot ? program.slots++ : 0;
    program.code.push_back(draft.in);
    const Function& f = *functions_[draft_function_[i]];
    SourceLine line{"ret", f.name, f.line, 0, 0};
    if (!f.statements.empty()) {
      const Statement& s = f.statements[static_cast<size_t>(draft.statement)];
      line = {s.opcode, f.name, s.line, s.source_file, s.source_line};
    }
    program.lines.push_back(line);
  }
}

}  // namespace flyball::simulated_gpu

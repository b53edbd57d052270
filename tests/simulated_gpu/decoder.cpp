#include "tests/simulated_gpu/decoder.h"

#include <algorithm>
#include <array>

#include "tests/simulated_gpu/execution.h"

namespace flyball::simulated_gpu {
namespace {

constexpr std::array<std::pair<std::string_view, Special>, 27> kSpecials = {{
    {"%tid.x", Special::tid_x},
    {"%tid.y", Special::tid_y},
    {"%tid.z", Special::tid_z},
    {"%ntid.x", Special::ntid_x},
    {"%ntid.y", Special::ntid_y},
    {"%ntid.z", Special::ntid_z},
    {"%ctaid.x", Special::ctaid_x},
    {"%ctaid.y", Special::ctaid_y},
    {"%ctaid.z", Special::ctaid_z},
    {"%nctaid.x", Special::nctaid_x},
    {"%nctaid.y", Special::nctaid_y},
    {"%nctaid.z", Special::nctaid_z},
    {"%laneid", Special::laneid},
    {"%warpid", Special::warpid},
    {"%nwarpid", Special::nwarpid},
    {"%lanemask_eq", Special::lanemask_eq},
    {"%lanemask_lt", Special::lanemask_lt},
    {"%lanemask_le", Special::lanemask_le},
    {"%lanemask_gt", Special::lanemask_gt},
    {"%lanemask_ge", Special::lanemask_ge},
    {"%dynamic_smem_size", Special::dynamic_smem_size},
    {"%total_smem_size", Special::total_smem_size},
    {"%envreg1", Special::envreg_1},
    {"%envreg2", Special::envreg_2},
    {"%smid", Special::zero},
    {"WARP_SZ", Special::warp_size},
    {"%gridid", Special::gridid},
}};

}  // namespace

const Operand& Decoder::operand(size_t i) const {
  if (i >= statement_->operands.size()) fail("too few operands");
  return statement_->operands[i];
}

void Decoder::fail(const std::string& what) const {
  std::string text = "kernel " + demangled(kernel_.name) + ": ";
  if (statement_) {
    text += "PTX line " + std::to_string(statement_->line) + ", " + std::string(statement_->opcode);
    if (const auto file = module_.files.find(statement_->source_file); file != module_.files.end())
      text += " (" + file->second + ":" + std::to_string(statement_->source_line) + ")";
    text += ": ";
  }
  throw Fault(text + what);
}

int Decoder::new_row(Row::Kind kind, int width, uint64_t value, Special special) {
  rows_.push_back({kind, static_cast<uint8_t>(width), value, special, kNone});
  return static_cast<int>(rows_.size()) - 1;
}

int Decoder::row_of(const Operand& o, int width) {
  const auto constant_row = [&](uint64_t value) {
    if (width < 8) value &= (uint64_t{1} << (8 * width)) - 1;
    const auto [found, fresh] = constants_.try_emplace({width, value}, 0);
    if (fresh) found->second = new_row(Row::Kind::constant, width, value, Special::zero);
    return found->second;
  };
  switch (o.kind) {
    case Operand::Kind::reg: {
      const Type type = function().registers[static_cast<size_t>(o.reg)].type;
      if (type == Type::pred) fail("a predicate where a number is expected");
      if (width && size_of(type) != width)
        fail("an operand of " + std::to_string(size_of(type)) + " bytes where " +
             std::to_string(width) + " are expected");
      return layouts_[function_index_].first_row + o.reg;
    }
    case Operand::Kind::immediate:
      return constant_row(o.value);
    case Operand::Kind::symbol: {
      for (const auto& [name, special] : kSpecials) {
        if (name != o.name) continue;
        const auto [found, fresh] =
            specials_.try_emplace({width, static_cast<uint64_t>(special)}, 0);
        if (fresh) found->second = new_row(Row::Kind::special, width, 0, special);
        return found->second;
      }
      const Symbol* symbol = find_symbol(o.name);
      if (!symbol) fail("'" + std::string(o.name) + "' is not covered");
      return constant_row(symbol->value + static_cast<uint64_t>(o.offset));
    }
    default:
      fail("an operand of this form is not covered");
  }
}

void Decoder::bind(Field field, int row, bool defines) {
  const uint32_t extra = field == Field::extra ? new_extra() : 0;
  draft().uses.push_back({field, extra, row, defines});
}

int Decoder::source(Field field, const Operand& o, int width) {
  if (width == 0 && o.kind != Operand::Kind::reg) fail("the width of an operand is unknown");
  const int row = row_of(o, width);
  bind(field, row, false);
  return rows_[static_cast<size_t>(row)].width;
}

int Decoder::destination(Field field, const Operand& o, int width) {
  if (o.kind != Operand::Kind::reg) fail("a destination must be a register");
  const int row = row_of(o, width);
  bind(field, row, true);
  return rows_[static_cast<size_t>(row)].width;
}

int Decoder::constant(Field field, uint64_t value, int width) {
  Operand o;
  o.kind = Operand::Kind::immediate;
  o.value = value;
  return source(field, o, width);
}

uint32_t Decoder::new_extra(uint32_t value) {
  program_->extras.push_back(value);
  return static_cast<uint32_t>(program_->extras.size()) - 1;
}

void Decoder::address(Field field, const Operand& o) {
  if (o.kind != Operand::Kind::address) fail("an address is expected");
  in().offset = o.offset;
  if (o.reg >= 0) {
    const int width = source(
        field,
        [&] {
          Operand r;
          r.kind = Operand::Kind::reg;
          r.reg = o.reg;
          return r;
        }(),
        0);
    if (width == 4)
      in().flags |= kAddress32;
    else if (width != 8)
      fail("an address of " + std::to_string(width) + " bytes");
  } else if (o.name.empty()) {
    constant(field, 0, 8);
  } else {
    const Symbol* symbol = find_symbol(o.name);
    if (!symbol) fail("'" + std::string(o.name) + "' is not known");
    constant(field, symbol->value, 8);
  }
}

bool Decoder::is_predicate(const Operand& o) const {
  return o.kind == Operand::Kind::reg &&
         function().registers[static_cast<size_t>(o.reg)].type == Type::pred;
}

int Decoder::width_of(const Operand& o) const {
  return o.kind == Operand::Kind::reg
             ? size_of(function().registers[static_cast<size_t>(o.reg)].type)
             : 0;
}

uint32_t Decoder::predicate(const Operand& o) const {
  if (!is_predicate(o)) fail("a predicate is expected");
  return static_cast<uint32_t>(layouts_[function_index_].first_predicate + o.reg);
}

bool Decoder::is_kernel_parameter(std::string_view name) const {
  const Symbol* symbol = find_symbol(name);
  return symbol && symbol->space == Space::parameter;
}

const Decoder::Symbol* Decoder::find_symbol(std::string_view name) const {
  const auto& own = layouts_[function_index_].symbols;
  if (const auto found = own.find(name); found != own.end()) return &found->second;
  const auto found = module_symbols_.find(name);
  return found == module_symbols_.end() ? nullptr : &found->second;
}

bool Decoder::from_table(const Table& table) {
  const auto found = table.find(statement_->opcode);
  if (found == table.end()) return false;
  const Entry& e = found->second;
  const size_t expected = 1u + (e.a != 0) + (e.b != 0) + (e.c != 0);
  if (statement_->operands.size() != expected)
    fail("has " + std::to_string(statement_->operands.size()) + " operands");
  Draft& draft = add(e.run, Control::row);
  draft.in.width = e.d;
  size_t i = 1;
  if (e.a) source(Field::a, operand(i++), e.a);
  if (e.b) source(Field::b, operand(i++), e.b);
  if (e.c) source(Field::c, operand(i++), e.c);
  destination(Field::d, operand(0), e.d);
  return true;
}

Draft& Decoder::add(Handler run, Control control) {
  Draft draft;
  draft.in.run = run;
  draft.in.control = control;
  draft.in.extra = static_cast<uint32_t>(program_->extras.size());
  draft.statement = static_cast<int>(statement_ - function().statements.data());
  if (statement_->guard >= 0) {
    Operand guard;
    guard.kind = Operand::Kind::reg;
    guard.reg = statement_->guard;
    draft.in.guard = predicate(guard);
    draft.in.guard_flip = statement_->guard_negated ? ~0u : 0;
  }
  drafts_.push_back(std::move(draft));
  draft_function_.push_back(function_index_);
  return drafts_.back();
}

}  // namespace flyball::simulated_gpu

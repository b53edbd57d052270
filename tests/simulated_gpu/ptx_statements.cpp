#include <cctype>
#include <cstdlib>

#include "tests/simulated_gpu/ptx_parser.h"

namespace flyball::simulated_gpu {

std::string_view Parser::ahead(size_t n) const {
  return tokens_[std::min(at_ + n, tokens_.size() - 1)].text;
}

void Parser::body() {
  expect("{");
  scopes_.emplace_back();
  while (!accept("}")) {
    if (current().empty()) fail("unexpected end");
    body_item();
  }
  close_scope();
}

void Parser::body_item() {
  const std::string_view word = current();
  if (word == "{") return body();
  if (word == ".reg") return next(), registers(next());
  if (word.starts_with(".reg.")) return next(), registers(word.substr(4));  // ".reg.b32"
  if (word == ".shared") return next(), function_->shared.push_back(variable());
  if (word == ".local") return next(), function_->local.push_back(variable());
  if (word == ".param") return next(), function_->call_parameters.push_back(variable());
  if (word == ".pragma") return skip_past(";");
  if (word == ".loc") return location();
  if (word == ";") return (void)next();
  if (ahead(1) == ":") return label();
  statement();
}

void Parser::registers(std::string_view word) {
  const Type type = type_of(word.substr(1));
  if (type == Type::none || type == Type::b128)
    fail("registers of type '" + std::string(word) + "' are not covered");
  do {
    const std::string_view name = next();
    const int first = static_cast<int>(function_->registers.size());
    Scope& scope = scopes_.back();
    if (accept("<")) {
      const int count = static_cast<int>(number());
      expect(">");
      scope.prefixes[name] = first;
      scope.counts[name] = count;
      for (int i = 0; i < count; ++i) function_->registers.push_back({name, i, type});
    } else {
      scope.registers[std::string(name)] = first;
      function_->registers.push_back({name, -1, type});
    }
  } while (accept(","));
  expect(";");
}

int Parser::find_register(std::string_view name) const {
  size_t digits = name.size();
  while (digits && std::isdigit(static_cast<unsigned char>(name[digits - 1]))) --digits;
  const std::string_view prefix = name.substr(0, digits);
  uint64_t number = 0;
  const bool numbered =
      digits < name.size() && (name[digits] != '0' || digits + 1 == name.size()) &&
      (number = std::strtoull(std::string(name.substr(digits)).c_str(), nullptr, 10), true);
  const std::string key(name);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->registers.find(key); found != scope->registers.end())
      return found->second;
    if (!numbered) continue;
    const auto found = scope->prefixes.find(prefix);
    if (found != scope->prefixes.end() && number < static_cast<uint64_t>(scope->counts.at(prefix)))
      return found->second + static_cast<int>(number);
  }
  return -1;
}

void Parser::location() {
  next();
  const int here = line();
  source_file_ = static_cast<int>(number());
  source_line_ = static_cast<int>(number());
  while (!current().empty() && line() == here) next();
}

void Parser::label() {
  const std::string_view name = next();
  expect(":");
  if (accept(".branchtargets")) {
    auto& table = scopes_.front().tables[name];
    do table.push_back(next());
    while (accept(","));
    expect(";");
  } else if (current() == ".callprototype") {
    skip_past(";");
  } else {
    scopes_.back().labels[name] = static_cast<int>(function_->statements.size());
  }
}

void Parser::close_scope() {
  Scope scope = std::move(scopes_.back());
  scopes_.pop_back();
  for (const auto& branch : scope.branches) {
    Statement& s = function_->statements[static_cast<size_t>(branch.statement)];
    if (const auto found = scope.labels.find(branch.label); found != scope.labels.end()) {
      s.targets.push_back(found->second);
    } else if (const auto table = scope.tables.find(branch.label); table != scope.tables.end()) {
      for (const std::string_view target : table->second) {
        const auto at = scope.labels.find(target);
        if (at == scope.labels.end()) fail("no label '" + std::string(target) + "'");
        s.targets.push_back(at->second);
      }
    } else if (!scopes_.empty()) {
      scopes_.back().branches.push_back(branch);
    } else {
      fail("no label '" + std::string(branch.label) + "'");
    }
  }
}

void Parser::statement() {
  Statement s;
  s.line = line();
  s.source_file = source_file_;
  s.source_line = source_line_;
  if (accept("@")) {
    s.guard_negated = accept("!");
    s.guard = find_register(current());
    if (s.guard < 0) fail("no register '" + std::string(current()) + "'");
    next();
  }
  s.opcode = next();
  const int index = static_cast<int>(function_->statements.size());
  const std::string_view base = s.opcode.substr(0, s.opcode.find('.'));
  if (base == "call") {
    call(s);
  } else if (base == "bra") {
    scopes_.back().branches.push_back({index, next()});
  } else if (base == "brx") {
    s.operands.push_back(operand());
    expect(",");
    scopes_.back().branches.push_back({index, next()});
  } else {
    while (current() != ";" && !current().empty()) {
      s.operands.push_back(operand());
      if (!accept(",")) break;
    }
  }
  expect(";");
  function_->statements.push_back(std::move(s));
}

void Parser::call(Statement& s) {
  const auto names = [&](std::vector<std::string_view>& list) {
    expect("(");
    while (!accept(")")) {
      list.push_back(next());
      accept(",");
    }
  };
  if (current() == "(") {
    names(s.results);
    expect(",");
  }
  s.callee = next();
  if (accept(",") && current() == "(") names(s.arguments);
  if (current() != ";") {  // an indirect call names its prototype last
    while (current() != ";" && !current().empty()) next();
  }
}

Operand Parser::operand() {
  Operand o;
  if (accept("{")) {
    o.kind = Operand::Kind::vector;
    while (!accept("}")) {
      o.list.push_back(operand());
      accept(",");
    }
    return o;
  }
  if (accept("[")) {
    o = operand();
    if (o.kind == Operand::Kind::immediate) o.offset = static_cast<int64_t>(o.value);
    o.kind = Operand::Kind::address;
    while (!accept("]")) {
      if (accept("+")) {
        o.offset += static_cast<int64_t>(number());
      } else if (current() == "-") {
        o.offset += static_cast<int64_t>(number());
      } else {
        fail("an address of this form is not covered");
      }
    }
    return o;
  }
  if (accept("!")) {
    o = operand();
    o.negated = true;
    return o;
  }
  uint64_t bits = 0;
  if (current() == "-" || parse_number(current(), bits)) {
    o.kind = Operand::Kind::immediate;
    o.value = number();
    return o;
  }
  const std::string_view name = next();
  if (name == "_") {
    o.kind = Operand::Kind::sink;
  } else if (o.reg = find_register(name); o.reg >= 0) {
    o.kind = Operand::Kind::reg;
  } else {
    o.kind = Operand::Kind::symbol;
    o.name = name;
    if (current() == "+" && parse_number(ahead(1), bits)) {
      next();
      o.offset = static_cast<int64_t>(number());
    }
  }
  if (accept("|")) {
    Operand both;
    both.kind = Operand::Kind::pair;
    both.list.push_back(std::move(o));
    both.list.push_back(operand());
    return both;
  }
  return o;
}

}  // namespace flyball::simulated_gpu

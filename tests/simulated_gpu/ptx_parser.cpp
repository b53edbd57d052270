#include "tests/simulated_gpu/ptx_parser.h"

#include <cstring>

#include "tests/simulated_gpu/simulator.h"

namespace flyball::simulated_gpu {

ParsedModule parse_ptx(std::string_view text) { return Parser(text).parse(); }

ParsedModule Parser::parse() {
  while (!current().empty()) module_item();
  return std::move(module_);
}

void Parser::expect(std::string_view text) {
  if (!accept(text))
    fail("expected '" + std::string(text) + "', found '" + std::string(current()) + "'");
}

[[noreturn]] void Parser::fail(const std::string& what) const {
  throw Fault("PTX line " + std::to_string(line()) + ": " + what +
              (function_ ? " (in " + std::string(function_->name) + ")" : ""));
}

void Parser::skip_line() {
  const int here = tokens_[at_ ? at_ - 1 : 0].line;
  while (!current().empty() && line() == here) next();
}

void Parser::skip_past(std::string_view text) {
  while (!current().empty() && current() != text) next();
  next();
}

void Parser::skip_braces() {
  skip_past("{");
  for (int depth = 1; depth && !current().empty();) {
    const std::string_view t = next();
    depth += t == "{" ? 1 : t == "}" ? -1 : 0;
  }
}

uint64_t Parser::number() {
  const bool negative = accept("-");
  uint64_t bits = 0;
  if (!parse_number(current(), bits))
    fail("expected a number, found '" + std::string(current()) + "'");
  next();
  return negative ? -bits : bits;
}

void Parser::module_item() {
  const std::string_view word = next();
  if (word == ".version" || word == ".target" || word == ".address_size") {
    skip_line();
  } else if (word == ".file") {
    const int index = static_cast<int>(number());
    std::string_view path = next();
    if (path.size() >= 2) path = path.substr(1, path.size() - 2);
    module_.files[index] = std::string(path);
    skip_line();
  } else if (word == ".section") {
    skip_braces();
  } else if (word == ".visible" || word == ".extern" || word == ".weak" || word == ".common" ||
             word == ";") {
  } else if (word == ".global") {
    module_.globals.push_back(variable());
  } else if (word == ".const") {
    module_.constants.push_back(variable());
  } else if (word == ".shared") {
    module_.shared.push_back(variable());
  } else if (word == ".func" || word == ".entry") {
    function(word == ".entry");
  } else {
    --at_;
    fail("'" + std::string(word) + "' at module level is not covered");
  }
}

Variable Parser::variable(bool parameter) {
  Variable v;
  v.line = line();
  bool aligned = false;
  while (!current().empty() && current()[0] == '.') {
    const std::string_view word = next();
    if (word == ".align") {
      v.align = static_cast<uint32_t>(number());
      aligned = true;
    } else if (word == ".attribute") {
      skip_past(")");
    } else if (word == ".ptr") {
      while (current() == ".global" || current() == ".shared" || current() == ".const" ||
             current() == ".local" || current() == ".generic")
        next();
      if (accept(".align")) number();
    } else if (const Type type = type_of(word.substr(1)); type != Type::none) {
      v.type = type;
    } else {
      fail("variable of kind '" + std::string(word) + "' is not covered");
    }
  }
  if (!aligned) v.align = static_cast<uint32_t>(size_of(v.type));
  v.name = next();
  while (accept("[")) {
    if (accept("]")) {
      v.open = true;
      break;
    }
    v.count *= number();
    expect("]");
  }
  if (v.open) v.count = 0;
  if (accept("=")) initialiser(v);
  if (!parameter) expect(";");
  return v;
}

void Parser::initialiser(Variable& v) {
  v.initial.assign(v.bytes(), 0);
  const size_t size = static_cast<size_t>(size_of(v.type));
  size_t at = 0;
  int depth = 0;
  do {
    if (accept("{")) {
      ++depth;
    } else if (accept("}")) {
      --depth;
    } else if (!accept(",")) {
      uint64_t bits = 0;
      if (current() == "-" || parse_number(current(), bits)) {
        bits = number();
      } else {  // an address: name, name+4, generic(name), generic(name+4)
        const bool generic = accept("generic");
        if (generic) expect("(");
        Variable::AddressOf address{at, next(), 0};
        if (accept("+")) address.offset = static_cast<int64_t>(number());
        if (generic) expect(")");
        if (size != 8)
          fail("initialiser with the address of '" + std::string(address.symbol) +
               "' in other than 64 bits");
        v.addresses.push_back(address);
      }
      if (at + size > v.initial.size()) fail("initialiser is longer than its variable");
      std::memcpy(&v.initial[at], &bits, size);
      at += size;
    }
  } while (depth);
}

std::vector<Variable> Parser::parameter_list() {
  std::vector<Variable> list;
  if (!accept("(")) return list;
  while (!accept(")")) {
    if (current() == ".reg") fail("parameters in registers are not covered");
    expect(".param");
    list.push_back(variable(true));
    accept(",");
  }
  return list;
}

void Parser::function(bool kernel) {
  Function f;
  f.is_kernel = kernel;
  f.line = line();
  if (!kernel) f.results = parameter_list();
  f.name = next();
  f.parameters = parameter_list();
  function_ = &f;
  while (current() != "{" && current() != ";") {
    const std::string_view word = next();
    if (word == ".maxntid" || word == ".reqntid") {
      f.max_threads = 1;
      do f.max_threads *= static_cast<uint32_t>(number());
      while (accept(","));
    } else if (word.empty()) {
      fail("unexpected end");
    }
  }
  if (!accept(";")) {
    f.has_body = true;
    body();
  }
  function_ = nullptr;
  auto& slot = module_.functions[f.name];
  if (!slot.has_body) slot = std::move(f);
}

}  // namespace flyball::simulated_gpu

#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/simulated_gpu/ptx.h"
#include "tests/simulated_gpu/ptx_lexer.h"

namespace flyball::simulated_gpu {

// Recursive descent over the tokens of a module. ptx_parser.cpp: the module and its variables;
// ptx_statements.cpp: bodies.
class Parser {
 public:
  explicit Parser(std::string_view text) : tokens_(split_tokens(text)) {}

  ParsedModule parse();

 private:
  // A nested { }: names of its registers and labels, and branches whose label is not known yet.
  struct Scope {
    std::unordered_map<std::string, int> registers;
    std::unordered_map<std::string_view, int> prefixes;  // "%r<8>": first index
    std::unordered_map<std::string_view, int> counts;
    std::unordered_map<std::string_view, int> labels;
    std::unordered_map<std::string_view, std::vector<std::string_view>> tables;  // .branchtargets
    struct Branch {
      int statement;
      std::string_view label;
    };
    std::vector<Branch> branches;
  };

  std::string_view current() const { return tokens_[at_].text; }
  std::string_view ahead(size_t n) const;
  int line() const { return tokens_[at_].line; }
  std::string_view next() {
    const std::string_view text = current();
    if (at_ + 1 < tokens_.size()) ++at_;
    return text;
  }
  bool accept(std::string_view text) {
    if (current() != text) return false;
    next();
    return true;
  }
  void expect(std::string_view text);
  [[noreturn]] void fail(const std::string& what) const;
  void skip_line();
  void skip_past(std::string_view text);
  void skip_braces();
  uint64_t number();

  void module_item();
  // After the state space: .align 4 .b8 name[16] = {..};
  Variable variable(bool parameter = false);
  void initialiser(Variable& v);
  std::vector<Variable> parameter_list();
  void function(bool kernel);
  void body();
  void body_item();
  void registers(std::string_view word);
  int find_register(std::string_view name) const;
  void location();
  void label();
  void close_scope();
  void statement();
  void call(Statement& s);
  Operand operand();

  std::vector<Token> tokens_;
  size_t at_ = 0;
  ParsedModule module_;
  Function* function_ = nullptr;
  std::vector<Scope> scopes_;
  int source_file_ = 0, source_line_ = 0;
};

}  // namespace flyball::simulated_gpu

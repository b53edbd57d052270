#include "tests/simulated_gpu/ptx_lexer.h"

#include <cctype>
#include <charconv>
#include <cstring>

namespace flyball::simulated_gpu {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' ||
         c == '.';
}

}  // namespace

std::vector<Token> split_tokens(std::string_view s) {
  std::vector<Token> tokens;
  tokens.reserve(s.size() / 5);
  int line = 1;
  for (size_t i = 0; i < s.size();) {
    const char c = s[i];
    if (c == '\n') {
      ++line;
      ++i;
    } else if (c == '\0' || std::isspace(static_cast<unsigned char>(c))) {
      ++i;
    } else if (s.substr(i, 2) == "//") {
      while (i < s.size() && s[i] != '\n') ++i;
    } else if (s.substr(i, 2) == "/*") {
      const size_t end = std::min(s.find("*/", i), s.size());
      for (; i < end; ++i) line += s[i] == '\n';
      i += 2;
    } else if (c == '"') {
      const size_t end = std::min(s.find('"', i + 1), s.size() - 1);
      tokens.push_back({s.substr(i, end - i + 1), line});
      i = end + 1;
    } else if (is_word(c)) {
      size_t end = i;
      // "ld.param::entry" is one word; the ':' of a label is not part of it.
      while (end < s.size() && (is_word(s[end]) || s.substr(end, 2) == "::" ||
                                (s[end] == ':' && s[end - 1] == ':' && end > i)))
        ++end;
      tokens.push_back({s.substr(i, end - i), line});
      i = end;
    } else {
      tokens.push_back({s.substr(i, 1), line});
      ++i;
    }
  }
  tokens.push_back({{}, line});
  return tokens;
}

bool parse_number(std::string_view s, uint64_t& bits) {
  if (s.empty() || !std::isdigit(static_cast<unsigned char>(s[0]))) return false;
  int base = 10;
  if (s.size() >= 2 && s[0] == '0') {
    const char kind = static_cast<char>(std::tolower(static_cast<unsigned char>(s[1])));
    if ((kind == 'f' && s.size() == 10) || (kind == 'd' && s.size() == 18) || kind == 'x') {
      base = 16;
      s.remove_prefix(2);
    } else if (kind == 'b') {
      base = 2;
      s.remove_prefix(2);
    } else {
      base = 8;
    }
  }
  if (s.size() > 1 && s.back() == 'U') s.remove_suffix(1);
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), bits, base);
  return error == std::errc() && end == s.data() + s.size();
}

}  // namespace flyball::simulated_gpu

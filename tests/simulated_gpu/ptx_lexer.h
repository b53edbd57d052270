#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace flyball::simulated_gpu {

struct Token {
  std::string_view text;  // empty at the end
  int line = 0;
};

// Words ("ld.global.f32", "%r1", ".reg", "0f3F800000"), strings with their quotes, and single
// characters.
std::vector<Token> split_tokens(std::string_view ptx);

// The bits of an integer or floating literal (0f.., 0d..); false if it is none.
bool parse_number(std::string_view text, uint64_t& bits);

}  // namespace flyball::simulated_gpu

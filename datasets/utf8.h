#pragma once

#include <cstdint>
#include <string_view>

namespace flyball {

struct CodePoint {
  uint32_t value = 0;
  int bytes = 0;  // 0: no well-formed character starts here
};

// The character that starts at text[at], at < text.size(). Well-formed as in Unicode 15, table 3-7:
// no overlong forms, no surrogates, nothing above U+10FFFF.
inline CodePoint decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> uint32_t {
    return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : 0;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first >= 0xC2 && first <= 0xDF && continues(1)) {
    return {(first & 0x1FU) << 6 | (byte(1) & 0x3FU), 2};
  }
  if ((first & 0xF0U) == 0xE0U && continues(1) && continues(2)) {
    const uint32_t value = (first & 0x0FU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU);
    if (value >= 0x800 && (value < 0xD800 || value > 0xDFFF)) return {value, 3};
  }
  if (first >= 0xF0 && first <= 0xF4 && continues(1) && continues(2) && continues(3)) {
    const uint32_t value = (first & 0x07U) << 18 | (byte(1) & 0x3FU) << 12 |
                           (byte(2) & 0x3FU) << 6 | (byte(3) & 0x3FU);
    if (value >= 0x10000 && value <= 0x10FFFF) return {value, 4};
  }
  return {};
}

}  // namespace flyball

#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace flyball {

// Running 64-bit checksum that notices damage and change, not malice: every step is a bijection of
// the state, so one changed word always shows.
class Checksum {
 public:
  // The number of bytes counts, too: "ab" and "c" is not "a" and "bc".
  void add(std::string_view bytes) {
    add(bytes.size());
    size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8) mix(word(bytes.data() + at, 8));
    if (at < bytes.size()) mix(word(bytes.data() + at, bytes.size() - at));
  }
  void add(uint64_t value) { mix(value); }
  uint64_t value() const { return state_; }

 private:
  static uint64_t word(const char* from, size_t bytes) {
    uint64_t value = 0;
    std::memcpy(&value, from, bytes);
    return value;
  }
  void mix(uint64_t value) {
    state_ = (state_ ^ value) * 0x9E3779B97F4A7C15U;
    state_ ^= state_ >> 32;
  }

  uint64_t state_ = 0x5DEECE66D1234567U;
};

}  // namespace flyball

#pragma once

#include <cstdint>
#include <string>

namespace flyball {

struct Device {
  enum class Kind : uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
  std::string str() const;  // "cpu", "cuda:0"
};

// "cpu", "cuda" or "cuda:1"; throws Error on anything else and on a device this build or machine
// does not have.
Device parse_device(const std::string& text);

}  // namespace flyball

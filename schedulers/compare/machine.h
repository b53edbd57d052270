#pragma once

#include <string>

namespace flyball {

// What timings depend on; nothing that names the machine.
struct Machine {
  std::string processor;  // "AMD EPYC"; "unknown" where the system does not say
  int cores = 1;          // that this process may use
  std::string system;     // "Linux x86_64"
  std::string compiler;   // "g++ 12.2.0"
};
Machine this_machine();

}  // namespace flyball

#include "schedulers/compare/machine.h"

#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <thread>

namespace flyball {

Machine this_machine() {
  Machine machine{.processor = "unknown",
                  .cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency())),
                  .system = "unknown",
#ifdef __clang__
                  .compiler = "clang++ " __clang_version__};
#else
                  .compiler = "g++ " __VERSION__};
#endif
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) != 0 || colon == std::string::npos) continue;
    machine.processor = line.substr(colon + 2);
    break;
  }
  utsname name{};
  if (uname(&name) == 0) machine.system = std::string(name.sysname) + ' ' + name.machine;
  return machine;
}

}  // namespace flyball

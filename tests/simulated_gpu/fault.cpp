#include <cxxabi.h>

#include <cstdlib>

#include "tests/simulated_gpu/execution.h"

namespace flyball::simulated_gpu {
namespace {

std::string file_name(const std::string& path) {
  // The last two parts are enough to find a file.
  size_t cut = path.rfind('/');
  if (cut != std::string::npos && cut > 0) cut = path.rfind('/', cut - 1);
  return cut == std::string::npos ? path : path.substr(cut + 1);
}

std::string triple(uint64_t x, uint64_t y, uint64_t z) {
  return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
}

}  // namespace

std::string demangled(std::string_view name) {
  const std::string text(name);
  int status = 0;
  char* plain = abi::__cxa_demangle(text.c_str(), nullptr, nullptr, &status);
  const std::string result = status == 0 && plain ? plain : text;
  std::free(plain);
  return result;
}

std::string describe(const Launch& launch, const Instruction& at) {
  const SourceLine& line = launch.program.lines[at.index];
  std::string text;
  if (const auto file = launch.files.find(line.file); line.line > 0 && file != launch.files.end())
    text = file_name(file->second) + ":" + std::to_string(line.line) + " ";
  return text + "(" + std::string(line.text) + ", PTX line " + std::to_string(line.ptx_line) + ")";
}

std::string describe_thread(const Launch& launch, uint64_t block, uint32_t thread) {
  const Dim3 &g = launch.grid, &b = launch.block;
  return "block " + triple(block % g.x, block / g.x % g.y, block / g.x / g.y) + " thread " +
         triple(thread % b.x, thread / b.x % b.y, thread / b.x / b.y);
}

void Warp::fault(const Instruction& at, int lane, const std::string& what) const {
  const Launch& launch = block->launch;
  throw Fault("kernel " + demangled(launch.program.name) + "\n  at " + describe(launch, at) +
              "\n  " +
              describe_thread(launch, block->number, index * 32 + static_cast<uint32_t>(lane)) +
              "\n  " + what);
}

}  // namespace flyball::simulated_gpu

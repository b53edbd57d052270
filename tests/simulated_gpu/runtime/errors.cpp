#include "tests/simulated_gpu/runtime/errors.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/simulated_gpu/runtime/ordering.h"
#include "tests/simulated_gpu/runtime/report.h"

namespace flyball::simulated_gpu::runtime {
namespace {

constexpr int kExitStatus = 86;
constexpr int kNamedFrames = 3;

thread_local cudaError_t last_error = cudaSuccess;

// Runs after the program's own exit handlers and static destructors: it was registered before them.
void at_exit(int status, void*) {
  write_reports();
  std::fflush(nullptr);
  if (status == 0 && Errors::get().problems() > 0) _exit(kExitStatus);
}

[[gnu::constructor]] void register_exit_handler() { on_exit(at_exit, nullptr); }

// The texts of the library that this one stands in front of.
const char* original_text(const char* function, cudaError_t error) {
  using Text = const char* (*)(cudaError_t);
  const auto text = reinterpret_cast<Text>(dlsym(RTLD_NEXT, function));
  return text ? text(error) : "unknown error (libcudart is not loaded)";
}

// "function at file.cu:12" where addr2line is installed and the binary has the names, else
// "program+0x12f0".
std::string place(const char* binary, size_t offset) {
  const char* slash = std::strrchr(binary, '/');
  char line[1000];
  std::snprintf(line, sizeof line, "LD_PRELOAD= addr2line -Cfpse '%s' 0x%zx 2>/dev/null", binary,
                offset);
  std::FILE* pipe = popen(line, "r");
  const char* answer = pipe ? std::fgets(line, sizeof line, pipe) : nullptr;
  std::string text = answer && line[0] != '?' ? line : "";
  if (pipe) pclose(pipe);
  if (text.empty()) {
    std::snprintf(line, sizeof line, "%s+0x%zx", slash ? slash + 1 : binary, offset);
    return line;
  }
  text.erase(text.find_last_not_of('\n') + 1);
  if (text.ends_with(":?")) text.erase(text.rfind(" at "));  // no debug information
  return text;
}

const void* own_base() {
  Dl_info info;
  return dladdr(reinterpret_cast<void*>(&original_text), &info) ? info.dli_fbase : nullptr;
}

}  // namespace

std::recursive_mutex& runtime_mutex() {
  static auto* mutex = new std::recursive_mutex;
  return *mutex;
}

Errors& Errors::get() {
  static auto* errors = new Errors;
  return *errors;
}

cudaError_t Errors::record(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t Errors::last(bool clear) {
  const cudaError_t error = last_error;
  if (clear) last_error = cudaSuccess;
  return error;
}

void Errors::problem(const std::string& text) {
  ++problems_;
  texts_ += text + "\n";
  std::fflush(stdout);
  std::fprintf(stderr, "simulated GPU: %s\n", text.c_str());
  if (environment_flag("SIMULATED_GPU_ABORT", false)) std::abort();
}

void Errors::forget_problems() {
  problems_ = 0;
  texts_.clear();
}

cudaError_t not_covered(const char* what) {
  const std::lock_guard lock(runtime_mutex());
  Errors::get().problem(std::string("not covered: ") + what + ", called from " +
                        CallSite::here().describe());
  return Errors::get().record(cudaErrorNotSupported);
}

bool& inside_host_function() {
  static thread_local bool inside = false;
  return inside;
}

CallSite CallSite::here() {
  CallSite site;
  site.count_ = backtrace(site.frames_, kFrames);
  return site;
}

std::string CallSite::describe() const {
  static const void* const own = own_base();
  std::string text;
  int named = 0;
  for (int i = 0; i < count_ && named < kNamedFrames; ++i) {
    Dl_info info;
    if (!dladdr(frames_[i], &info) || info.dli_fbase == own) continue;
    if (info.dli_sname && std::strncmp(info.dli_sname, "__libc_start", 12) == 0) break;
    // One byte back: inside the call rather than after it.
    const size_t offset = static_cast<size_t>(static_cast<const char*>(frames_[i]) -
                                              static_cast<const char*>(info.dli_fbase)) -
                          1;
    const std::string frame = place(info.dli_fname, offset);
    // Compiler-made stubs of kernels, and the frame of the signal.
    if (frame.find("__device_stub__") != std::string::npos ||
        frame.find("sigaction") != std::string::npos)
      continue;
    text += (named++ ? " < " : "") + frame;
  }
  return text.empty() ? "an unknown place" : text;
}

bool environment_flag(const char* name, bool otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? std::strcmp(value, "0") != 0 : otherwise;
}

size_t environment_bytes(const char* name, size_t otherwise) {
  const char* value = std::getenv(name);
  if (!value || !*value) return otherwise;
  char* end = nullptr;
  const size_t number = std::strtoull(value, &end, 10);
  switch (*end) {
    case 'G':
      return number << 30;
    case 'M':
      return number << 20;
    case 'K':
      return number << 10;
    default:
      return number;
  }
}

}  // namespace flyball::simulated_gpu::runtime

using flyball::simulated_gpu::runtime::Errors;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaGetLastError() { return Errors::get().last(true); }
cudaError_t cudaPeekAtLastError() { return Errors::get().last(false); }
const char* cudaGetErrorString(cudaError_t error) {
  return flyball::simulated_gpu::runtime::original_text("cudaGetErrorString", error);
}
const char* cudaGetErrorName(cudaError_t error) {
  return flyball::simulated_gpu::runtime::original_text("cudaGetErrorName", error);
}

// Problems reported so far and not yet taken.
int simulated_gpu_problems() { return Errors::get().problems(); }

// Copies the texts of the problems, forgets them and returns their number: for tests that plant
// one.
int simulated_gpu_take_problems(char* text, size_t capacity) {
  const std::lock_guard lock(flyball::simulated_gpu::runtime::runtime_mutex());
  Errors& errors = Errors::get();
  const int count = errors.problems();
  if (text && capacity > 0) std::snprintf(text, capacity, "%s", errors.problem_texts().c_str());
  errors.forget_problems();
  flyball::simulated_gpu::runtime::Ordering::get().forget_reports();
  return count;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)

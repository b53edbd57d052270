#include "kernels/cpu/backend.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernels/error.h"

namespace flyball::cpu {
namespace {

Backend initial_backend() {
  const char* name = std::getenv("FLYBALL_CPU_BACKEND");
  if (name == nullptr || *name == '\0') return has_onednn() ? Backend::kOneDnn : Backend::kEigen;
  if (std::string_view(name) == "eigen") return Backend::kEigen;
  if (std::string_view(name) != "onednn") {
    throw Error(str("FLYBALL_CPU_BACKEND is \"", name, "\", expected eigen or onednn"));
  }
  if (!has_onednn()) throw Error("FLYBALL_CPU_BACKEND is onednn, but oneDNN was not built in");
  return Backend::kOneDnn;
}

std::atomic<Backend>& current_backend() {
  static std::atomic<Backend> current{initial_backend()};
  return current;
}

WinogradUse initial_winograd_use() {
  const char* name = std::getenv("FLYBALL_CPU_WINOGRAD");
  if (name == nullptr || *name == '\0') return WinogradUse::kAuto;
  for (const WinogradUse use : {WinogradUse::kAuto, WinogradUse::kOff, WinogradUse::kAlways}) {
    if (std::string_view(name) == name_of(use)) return use;
  }
  throw Error(str("FLYBALL_CPU_WINOGRAD is \"", name, "\", expected auto, off or always"));
}

std::atomic<WinogradUse>& current_winograd_use() {
  static std::atomic<WinogradUse> current{initial_winograd_use()};
  return current;
}

}  // namespace

bool has_onednn() {
#if FLYBALL_HAVE_ONEDNN
  return true;
#else
  return false;
#endif
}

Backend backend() { return current_backend().load(std::memory_order_relaxed); }

void set_backend(Backend backend) {
  if (backend == Backend::kOneDnn && !has_onednn()) {
    throw Error("set_backend: oneDNN was not built in");
  }
  current_backend().store(backend, std::memory_order_relaxed);
}

WinogradUse winograd_use() { return current_winograd_use().load(std::memory_order_relaxed); }

void set_winograd_use(WinogradUse use) {
  current_winograd_use().store(use, std::memory_order_relaxed);
}

const char* name_of(WinogradUse use) {
  switch (use) {
    case WinogradUse::kAlways:
      return "always";
    case WinogradUse::kOff:
      return "off";
    case WinogradUse::kAuto:
      break;
  }
  return "auto";
}

}  // namespace flyball::cpu

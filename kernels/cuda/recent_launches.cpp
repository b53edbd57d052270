#include "kernels/cuda/recent_launches.h"

#include <array>
#include <cstdint>
#include <mutex>

#include "kernels/error.h"

namespace flyball::cuda {
namespace {

struct Launched {
  const char* name = nullptr;
  std::source_location where;
};

struct Ring {
  std::mutex mutex;
  std::array<Launched, 8> launched;
  uint64_t count = 0;
};
// Never destroyed: launches from destructors of static objects still find it.
Ring& ring() {
  static auto* ring = new Ring;
  return *ring;
}

// From the project's folder on.
std::string place(const std::source_location& where) {
  const std::string file = where.file_name();
  const size_t at = file.rfind("kernels/");
  return str(at == std::string::npos ? file : file.substr(at), ":", where.line());
}

}  // namespace

void remember_launch(const char* name, const std::source_location& where) {
  Ring& r = ring();
  const std::lock_guard lock(r.mutex);
  r.launched[r.count++ % r.launched.size()] = {name, where};
}

std::string recent_launches() {
  Ring& r = ring();
  const std::lock_guard lock(r.mutex);
  std::string text, before;
  for (uint64_t back = 1; back <= r.launched.size() && back <= r.count; ++back) {
    const Launched& launched = r.launched[(r.count - back) % r.launched.size()];
    const std::string one = str(launched.name, " at ", place(launched.where));
    if (one == before) continue;
    text += (text.empty() ? "" : ", ") + one;
    before = one;
  }
  return text;
}

}  // namespace flyball::cuda

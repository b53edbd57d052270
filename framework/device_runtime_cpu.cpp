#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "framework/device_runtime.h"
#include "kernels/copy.h"
#include "kernels/error.h"

namespace flyball {
namespace {

// Work runs inside the call that enqueues it, so it is done whenever anybody can ask.
class CpuRuntime : public DeviceRuntime {
 public:
  int compute_capability() override { return 0; }

  void* create_stream() override { return nullptr; }
  void destroy_stream(void*) override {}
  void synchronize(void*) override {}

  void* create_event() override { return nullptr; }
  void destroy_event(void*) override {}
  void record(void*, void*) override {}
  void wait(void*, void*) override {}
  bool ready(void*) override { return true; }
  void synchronize_event(void*) override {}

  void* allocate(int64_t bytes) override {
    void* data = nullptr;
    return posix_memalign(&data, 64, static_cast<size_t>(bytes)) == 0 ? data : nullptr;
  }
  void free(void* data) override { std::free(data); }
  void fill_bytes(void* data, uint8_t value, int64_t bytes, void*) override {
    if (bytes > 0) std::memset(data, value, static_cast<size_t>(bytes));
  }
  void copy_to_device(void* to, const void* from, int64_t bytes, void*) override {
    cpu::copy({.from = from, .to = to, .bytes = bytes});
  }
  void copy_to_host(void* to, const void* from, int64_t bytes, void*) override {
    cpu::copy({.from = from, .to = to, .bytes = bytes});
  }
  int64_t free_bytes() override {
    return int64_t{sysconf(_SC_AVPHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  }
  bool untouched_memory_is_free() override { return true; }

  void* allocate_pinned(int64_t bytes) override { return allocate(bytes); }
  void free_pinned(void* data) override { free(data); }
  void copy_pinned(void* to, const void* from, int64_t bytes, void*) override {
    cpu::copy({.from = from, .to = to, .bytes = bytes});
  }

  bool captures() const override { return false; }
  void begin_capture(void*) override { no_graphs(); }
  void* end_capture(void*) override { no_graphs(); }
  void abandon_capture(void*) override {}
  void launch_graph(void*, void*) override { no_graphs(); }
  void destroy_graph(void*) override {}

 private:
  [[noreturn]] static void no_graphs() { throw Error("cpu: there are no graphs"); }
};

}  // namespace

DeviceRuntime& device_runtime(Device device) {
  static CpuRuntime cpu;
#if FLYBALL_HAVE_CUDA
  if (device.kind == Device::Kind::cuda) return cuda_runtime(device.index);
#endif
  (void)device;
  return cpu;
}

}  // namespace flyball

#include <cstdlib>
#include <cstring>

#include "framework/device_runtime.h"
#include "kernels/copy.h"

namespace flyball {
namespace {

// Work runs inside the call that enqueues it, so it is done whenever anybody can ask.
class CpuRuntime : public DeviceRuntime {
 public:
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

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// The simulated GPU: runs the PTX that nvcc emits on the CPU, every access checked. See README.md.
namespace flyball::simulated_gpu {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
};

// A check that failed, or PTX that is not covered: one text of a few lines that names kernel,
// source file and line, block, thread and what happened. Execution of the launch stops.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class WarpOrder { kForward, kReverse, kRandom, kOneAhead };

struct Options {
  WarpOrder warp_order = WarpOrder::kForward;
  uint64_t seed = 0;        // of kRandom
  bool race_check = false;  // shared memory within a block, global memory between blocks
  bool uninitialised_check = false;
  bool count = false;    // fill LaunchReport's counters
  bool touched = false;  // fill LaunchReport::touched
  int threads = 1;       // host threads that run blocks
  static Options
  from_environment();  // SIMULATED_GPU_ORDER, _SEED, _RACE, _UNINITIALISED, _REPORT, _THREADS
};

// Bytes [begin, end) of device memory that a launch read or wrote.
struct TouchedRange {
  uintptr_t begin = 0, end = 0;
  bool written = false;
};

struct LaunchReport {
  uint64_t warp_instructions = 0, thread_instructions = 0;
  uint64_t global_bytes_read = 0, global_bytes_written = 0;
  uint64_t global_requests = 0, global_sectors = 0;  // sectors of 32 bytes; ideal: bytes / 32
  uint64_t shared_requests = 0, shared_bank_conflicts = 0;  // conflicts: extra passes
  uint64_t divergent_branches = 0;
  std::vector<TouchedRange>
      touched;  // merged; filled when Options ask for it (stream ordering checks)
};

// Every live allocation of the device; accesses are checked against it. Thread-safe.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual void* allocate(
      size_t bytes, std::string_view what) = 0;  // 256-byte aligned, exact bounds, filled with 0xFF
  virtual bool free(void* data) = 0;  // false: not the start of a live allocation; later accesses
                                      // report use after free
  virtual void adopt(
      void* data, size_t bytes,
      std::string_view what) = 0;  // host memory the device may use (pinned, symbols)
  virtual bool disown(void* data) = 0;
  virtual size_t size_of(
      const void* data) const = 0;  // of the live allocation that starts here, else 0
  // Copies and memsets from outside a kernel call this, or the uninitialised-read check reports
  // their bytes.
  virtual void mark_initialised(const void* data, size_t bytes) = 0;
  virtual bool contains(const void* data,
                        size_t bytes) const = 0;  // all within one live allocation
  // track: remember which bytes were written, for the uninitialised-read check.
  static std::unique_ptr<DeviceMemory> make(
      bool track = Options::from_environment().uninitialised_check);
};

struct KernelInfo {
  std::string name;  // mangled
  std::vector<size_t> parameter_sizes;
  size_t static_shared_bytes = 0, local_bytes = 0;
  uint32_t max_threads = 1024;
};

// One PTX module, parsed and decoded once.
class Module {
 public:
  virtual ~Module() = default;
  static std::unique_ptr<Module> load(std::string_view ptx,
                                      DeviceMemory& memory);  // throws Fault with the PTX line
  virtual const KernelInfo* find_kernel(std::string_view name) const = 0;
  virtual void* symbol_address(std::string_view name, size_t* bytes)
      const = 0;  // .global and .const variables; null if none
  // Runs every block. arguments: one pointer a parameter, as in cudaLaunchKernel. Throws Fault.
  virtual LaunchReport launch(std::string_view kernel, Dim3 grid, Dim3 block,
                              size_t dynamic_shared_bytes, void* const* arguments,
                              const Options& options, bool cooperative = false) = 0;
};

}  // namespace flyball::simulated_gpu

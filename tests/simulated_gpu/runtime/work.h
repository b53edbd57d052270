#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "tests/simulated_gpu/runtime/fat_binary.h"
#include "tests/simulated_gpu/runtime/ordering.h"

// What streams and graph nodes run.
namespace flyball::simulated_gpu::runtime {

struct KernelWork {
  Kernel* kernel = nullptr;
  Dim3 grid, block;
  size_t shared_bytes = 0;
  bool cooperative = false;
  std::vector<std::vector<std::byte>> arguments;  // copied when the launch was issued
  std::vector<void*> argument_pointers;           // to them, for cudaGraphKernelNodeGetParams
};

// height rows of width bytes.
struct CopyWork {
  void* to = nullptr;
  size_t to_pitch = 0;
  const void* from = nullptr;
  size_t from_pitch = 0, width = 0, height = 1;
};

// height rows of width elements of 1, 2 or 4 bytes.
struct SetWork {
  void* to = nullptr;
  size_t pitch = 0, width = 0, height = 1;
  unsigned value = 0, element_bytes = 1;
};

struct HostWork {
  cudaHostFn_t function = nullptr;
  void* data = nullptr;
};

struct EmptyWork {};

struct ChildWork {
  std::shared_ptr<CUgraph_st> graph;  // expanded when the parent is instantiated
};

using Work = std::variant<KernelWork, CopyWork, SetWork, HostWork, EmptyWork, ChildWork>;

std::string describe(const Work& work);
KernelWork make_kernel_work(const void* function, dim3 grid, dim3 block, void* const* arguments,
                            size_t shared_bytes, bool cooperative);
void check(const CopyWork& work,
           cudaMemcpyKind kind);  // ranges, and that the kind agrees with both pointers
void check(const SetWork& work);

// Runs it now and checks its accesses against earlier work. host_waits: the call that issued a copy
// returns after it, so the host cannot race with it. A fault is reported and makes the device lost.
void perform(const Work& work, const Clock& clock, Stamp stamp, const SitePointer& site,
             bool host_waits);

}  // namespace flyball::simulated_gpu::runtime

#pragma once

#include <memory>
#include <string>

#include "tests/simulated_gpu/runtime/errors.h"
#include "tests/simulated_gpu/simulator.h"

namespace flyball::simulated_gpu::runtime {

// The device code of one translation unit; parsed at its first use.
class Binary {
 public:
  explicit Binary(const void* container);
  // Exits with a message when the container holds no PTX that can be run.
  Module& module();

 private:
  const void* container_;
  std::unique_ptr<Module> module_;
};

struct Kernel {
  Binary* binary = nullptr;
  std::string name;
  size_t dynamic_shared_limit = 0;  // opted in by cudaFuncSetAttribute; 0: the default limit
  int carveout = cudaSharedmemCarveoutDefault;
  const KernelInfo& info() const;
  std::string readable_name() const;  // demangled, without the parameter list
};

// The kernel of a host function or of a handle that cudaGetKernel gave out. Throws
// Failure(cudaErrorInvalidDeviceFunction).
Kernel& find_kernel(const void* function);

// Address and size of the device variable behind a host variable. Throws
// Failure(cudaErrorInvalidSymbol).
void* find_symbol(const void* variable, size_t* bytes);

}  // namespace flyball::simulated_gpu::runtime

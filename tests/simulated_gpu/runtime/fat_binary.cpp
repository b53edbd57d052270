#include "tests/simulated_gpu/runtime/fat_binary.h"

#include <cxxabi.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "tests/simulated_gpu/runtime/memory.h"

namespace flyball::simulated_gpu::runtime {
namespace {

constexpr uint32_t kNewestArchitecture = 80;  // what the interpreter runs
constexpr int kExitStatus = 86;

// A container: a header, then images, each with a header of its own. Fields beyond these are not
// needed.
struct ContainerHeader {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t bytes;  // of the images
};
struct ImageHeader {
  uint16_t kind, version;
  uint32_t header_bytes;
  uint64_t bytes;
  uint32_t unused[3];
  uint32_t architecture;
  uint32_t unused_name[2];
  uint64_t flags;
};
constexpr uint32_t kContainerMagic = 0xBA55ED50;
constexpr uint16_t kPtx = 1;
constexpr uint64_t kCompressed = 0x2000 | 0x8000;  // LZ4, Zstandard

struct Symbol {
  Binary* binary;
  std::string name;
};

// What the start-up code of the program registers; the compiler's stub functions and shadow
// variables are the keys.
struct Registry {
  std::map<const void*, std::unique_ptr<Kernel>> kernels;
  std::set<const void*> handles;
  std::map<const void*, Symbol> symbols;
};
Registry& registry() {
  static auto* registry = new Registry;
  return *registry;
}

[[noreturn]] void stop(const std::string& why) {
  std::fflush(stdout);
  std::fprintf(stderr, "simulated GPU: %s\n", why.c_str());
  _exit(kExitStatus);
}

// The newest uncompressed PTX image that the interpreter runs.
std::string_view find_ptx(const void* container) {
  const auto* header = static_cast<const ContainerHeader*>(container);
  if (header->magic != kContainerMagic) stop("the program's device code has an unknown format");
  const char* image = static_cast<const char*>(container) + header->header_bytes;
  const char* const end = image + header->bytes;
  std::string_view best;
  uint32_t best_architecture = 0;
  bool compressed = false, newer = false;
  while (image < end) {
    const auto* entry = reinterpret_cast<const ImageHeader*>(image);
    if (entry->kind == kPtx) {
      if (entry->flags & kCompressed) {
        compressed = true;
      } else if (entry->architecture > kNewestArchitecture) {
        newer = true;
      } else if (entry->architecture > best_architecture) {
        const char* text = image + entry->header_bytes;
        best = {text, strnlen(text, entry->bytes)};
        best_architecture = entry->architecture;
      }
    }
    image += entry->header_bytes + entry->bytes;
  }
  if (!best.empty()) return best;
  if (compressed) stop("the program's PTX is compressed: build it with nvcc --no-compress");
  if (newer) stop("the program holds PTX newer than compute_80 only: add code=compute_80");
  stop("the program holds no PTX: build it with -gencode arch=compute_80,code=compute_80");
}

}  // namespace

Binary::Binary(const void* container) : container_(container) {}

Module& Binary::module() {
  if (!module_) {
    try {
      module_ = Module::load(find_ptx(container_), Memory::get().device());
    } catch (const Fault& fault) {
      stop(std::string("the program's PTX cannot be loaded: ") + fault.what());
    }
  }
  return *module_;
}

const KernelInfo& Kernel::info() const {
  const KernelInfo* info = binary->module().find_kernel(name);
  require(info, cudaErrorInvalidDeviceFunction);
  return *info;
}

std::string Kernel::readable_name() const {
  char* readable = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, nullptr);
  std::string text = readable ? readable : name;
  std::free(readable);
  if (text.starts_with("void ")) text.erase(0, 5);
  for (size_t at; (at = text.find("(anonymous namespace)::")) != std::string::npos;)
    text.erase(at, std::strlen("(anonymous namespace)::"));
  const size_t parameters = text.find('(');
  return parameters == std::string::npos ? text : text.substr(0, parameters);
}

Kernel& find_kernel(const void* function) {
  Registry& known = registry();
  if (const auto found = known.kernels.find(function); found != known.kernels.end())
    return *found->second;
  require(known.handles.contains(function), cudaErrorInvalidDeviceFunction);
  return *const_cast<Kernel*>(static_cast<const Kernel*>(function));
}

void* find_symbol(const void* variable, size_t* bytes) {
  const auto found = registry().symbols.find(variable);
  require(found != registry().symbols.end(), cudaErrorInvalidSymbol);
  const auto& [binary, name] = found->second;
  void* address = binary->module().symbol_address(name, bytes);
  require(address, cudaErrorInvalidSymbol);
  Memory::get().note_symbol(address, *bytes, name);
  return address;
}

}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier): the CUDA runtime's names
extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  const std::lock_guard lock(runtime_mutex());
  // The wrapper: magic, version, pointer to the container.
  const void* container;
  std::memcpy(&container, static_cast<char*>(wrapper) + 8, sizeof container);
  return reinterpret_cast<void**>(new Binary(container));
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}  // destructors of other objects may still launch
char __cudaInitModule(void**) { return 1; }

void __cudaRegisterFunction(void** binary, const char* host_function, char*, const char* name, int,
                            uint3*, uint3*, dim3*, dim3*, int*) {
  const std::lock_guard lock(runtime_mutex());
  auto kernel = std::make_unique<Kernel>();
  kernel->binary = reinterpret_cast<Binary*>(binary);
  kernel->name = name;
  registry().handles.insert(kernel.get());
  registry().kernels[host_function] = std::move(kernel);
}

void __cudaRegisterVar(void** binary, char* host_variable, char*, const char* name, int, size_t,
                       int, int) {
  const std::lock_guard lock(runtime_mutex());
  registry().symbols[host_variable] = {reinterpret_cast<Binary*>(binary), name};
}

cudaError_t __cudaGetKernel(cudaKernel_t* handle, const void* host_function) {
  return call([&] { *handle = reinterpret_cast<cudaKernel_t>(&find_kernel(host_function)); });
}
cudaError_t cudaGetKernel(cudaKernel_t* handle, const void* host_function) {
  return __cudaGetKernel(handle, host_function);
}
cudaError_t cudaGetFuncBySymbol(cudaFunction_t* function, const void* host_function) {
  return call([&] { *function = reinterpret_cast<cudaFunction_t>(&find_kernel(host_function)); });
}

cudaError_t cudaGetSymbolAddress(void** address, const void* variable) {
  return call([&] {
    size_t bytes = 0;
    *address = find_symbol(variable, &bytes);
  });
}
cudaError_t cudaGetSymbolSize(size_t* bytes, const void* variable) {
  return call([&] { find_symbol(variable, bytes); });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier)

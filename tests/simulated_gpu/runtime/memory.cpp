#include "tests/simulated_gpu/runtime/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "tests/simulated_gpu/runtime/host_guard.h"
#include "tests/simulated_gpu/runtime/ordering.h"

namespace flyball::simulated_gpu::runtime {
namespace {

constexpr size_t kGranule = 512;  // what an allocation takes from the budget is a multiple of this
constexpr size_t kPage = 4096;

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

bool from_budget(MemoryKind kind) {
  return kind == MemoryKind::kDevice || kind == MemoryKind::kManaged;
}

}  // namespace

Memory& Memory::get() {
  static auto* memory = new Memory;
  return *memory;
}

Memory::Memory()
    : device_(DeviceMemory::make()),
      total_(environment_bytes("SIMULATED_GPU_MEMORY", size_t{8} << 30)) {}

void* Memory::keep(void* data, size_t bytes, MemoryKind kind, unsigned flags, std::string what,
                   cudaMemPool_t pool) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  blocks_[begin] = {begin, bytes, kind, flags, pool, std::move(what), CallSite::here()};
  return data;
}

void* Memory::allocate(size_t bytes, MemoryKind kind, const char* function, cudaMemPool_t pool) {
  if (bytes == 0) return nullptr;
  const size_t cost = rounded(bytes, kGranule);
  require(bytes <= total_ && cost <= total_ - used_, cudaErrorMemoryAllocation);
  const std::string what = std::string(function) + " " + std::to_string(++count_);
  void* data = device_->allocate(bytes, what);
  require(data, cudaErrorMemoryAllocation);
  used_ += cost;
  if (pool) {
    pool->used += cost;
    pool->used_high = std::max(pool->used_high, pool->used);
    pool->reserved_high = pool->used_high;
  }
  return keep(data, bytes, kind, 0, what, pool);
}

void* Memory::allocate_pinned(size_t bytes, unsigned flags, const char* function) {
  if (bytes == 0) return nullptr;
  void* data = mmap(nullptr, rounded(bytes, kPage), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(data != MAP_FAILED, cudaErrorMemoryAllocation);
  std::memset(data, 0xFF, bytes);
  const std::string what = std::string(function) + " " + std::to_string(++count_);
  device_->adopt(data, bytes, what);
  return keep(data, bytes, MemoryKind::kPinned, flags, what, nullptr);
}

void Memory::register_host(void* data, size_t bytes, unsigned flags) {
  const Block* block = find(data);
  require(!block, cudaErrorHostMemoryAlreadyRegistered);
  const std::string what = "cudaHostRegister " + std::to_string(++count_);
  device_->adopt(data, bytes, what);
  keep(data, bytes, MemoryKind::kRegistered, flags, what, nullptr);
}

void Memory::note_symbol(void* data, size_t bytes, const std::string& name) {
  if (!find_start(data)) keep(data, bytes, MemoryKind::kSymbol, 0, name, nullptr);
}

void Memory::release(const Block& released) {
  const Block block = released;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are looked up as numbers
  void* data = reinterpret_cast<void*>(block.begin);
  blocks_.erase(block.begin);
  Ordering::get().forget(block.begin, block.bytes);
  if (from_budget(block.kind)) {
    used_ -= rounded(block.bytes, kGranule);
    if (block.pool) block.pool->used -= rounded(block.bytes, kGranule);
    device_->free(data);
  } else {
    HostGuard::get().forget(block.begin, block.bytes);
    device_->disown(data);
    if (block.kind == MemoryKind::kPinned) munmap(data, rounded(block.bytes, kPage));
  }
}

void Memory::release_everything() {
  std::map<uintptr_t, Block> blocks = blocks_;
  for (const auto& [begin, block] : blocks)
    if (block.kind != MemoryKind::kSymbol) release(block);
}

const Block* Memory::find(const void* data) const {
  const auto address = reinterpret_cast<uintptr_t>(data);
  auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return nullptr;
  const Block& block = std::prev(after)->second;
  return address < block.begin + block.bytes ? &block : nullptr;
}

const Block* Memory::find_start(const void* data) const {
  const auto found = blocks_.find(reinterpret_cast<uintptr_t>(data));
  return found == blocks_.end() ? nullptr : &found->second;
}

MemoryKind Memory::kind_of(const void* data) const {
  const Block* block = find(data);
  return block ? block->kind : MemoryKind::kPageable;
}

void Memory::check_range(const void* data, size_t bytes, const char* role) const {
  const Block* block = find(data);
  if (!block) return;
  const auto begin = reinterpret_cast<uintptr_t>(data);
  if (bytes <= block->begin + block->bytes - begin) return;
  Errors::get().problem("out of bounds: the " + std::string(role) + " is " +
                        describe(begin, bytes) + ", called from " + CallSite::here().describe());
  throw Failure{cudaErrorInvalidValue};
}

std::string Memory::describe(uintptr_t begin, size_t bytes) const {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are looked up as numbers
  const Block* block = find(reinterpret_cast<const void*>(begin));
  if (!block) return std::to_string(bytes) + " bytes of host memory";
  const size_t first = begin - block->begin;
  return "bytes " + std::to_string(first) + " to " + std::to_string(first + bytes - 1) + " of '" +
         block->what + "' (" + std::to_string(block->bytes) + " bytes, from " +
         block->caller.describe() + ")";
}

std::string Memory::leaks() const {
  std::string text;
  for (const auto& [begin, block] : blocks_)
    if (block.kind != MemoryKind::kSymbol) text += "    " + describe(begin, block.bytes) + "\n";
  return text;
}

}  // namespace flyball::simulated_gpu::runtime

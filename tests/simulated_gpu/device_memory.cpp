#include "tests/simulated_gpu/device_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace flyball::simulated_gpu {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kQuarantineBytes = size_t{256}
                                    << 20;  // freed memory that is not handed out again yet

}  // namespace

const Allocation* MemorySnapshot::find(uintptr_t address) const {
  auto after = std::upper_bound(live.begin(), live.end(), address,
                                [](uintptr_t a, const Allocation& x) { return a < x.begin; });
  if (after == live.begin()) return nullptr;
  --after;
  return address < after->end ? &*after : nullptr;
}

std::unique_ptr<DeviceMemory> DeviceMemory::make(bool track) {
  return std::make_unique<TrackedMemory>(track);
}

TrackedMemory::~TrackedMemory() {
  for (auto& [address, record] : live_)
    if (record.owned) std::free(reinterpret_cast<void*>(address));
  for (auto& [address, record] : freed_) std::free(reinterpret_cast<void*>(address));
}

void* TrackedMemory::allocate(size_t bytes, std::string_view what) {
  const size_t padded = (bytes + kAlignment) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, padded);
  if (!data) return nullptr;
  std::memset(data, 0xFF, padded);
  const std::lock_guard lock(mutex_);
  Record& record = live_[reinterpret_cast<uintptr_t>(data)];
  record = {bytes, std::string(what), true, {}};
  if (track_) record.initialised.assign(bytes / 8 + 1, 0);
  snapshot_ = nullptr;
  return data;
}

bool TrackedMemory::free(void* data) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(reinterpret_cast<uintptr_t>(data));
  if (found == live_.end() || !found->second.owned) return false;
  std::memset(data, 0xFF, found->second.bytes);
  freed_bytes_ += found->second.bytes;
  freed_.emplace_back(found->first, std::move(found->second));
  live_.erase(found);
  snapshot_ = nullptr;
  release_old();
  return true;
}

void TrackedMemory::release_old() {
  size_t drop = 0;
  while (freed_bytes_ > kQuarantineBytes && drop < freed_.size()) {
    freed_bytes_ -= freed_[drop].second.bytes;
    std::free(reinterpret_cast<void*>(freed_[drop].first));
    ++drop;
  }
  freed_.erase(freed_.begin(), freed_.begin() + static_cast<std::ptrdiff_t>(drop));
}

void TrackedMemory::adopt(void* data, size_t bytes, std::string_view what) {
  const std::lock_guard lock(mutex_);
  live_[reinterpret_cast<uintptr_t>(data)] = {bytes, std::string(what), false, {}};
  snapshot_ = nullptr;
}

bool TrackedMemory::disown(void* data) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(reinterpret_cast<uintptr_t>(data));
  if (found == live_.end() || found->second.owned) return false;
  live_.erase(found);
  snapshot_ = nullptr;
  return true;
}

size_t TrackedMemory::size_of(const void* data) const {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(reinterpret_cast<uintptr_t>(data));
  return found == live_.end() ? 0 : found->second.bytes;
}

void TrackedMemory::mark_initialised(const void* data, size_t bytes) {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  const auto address = reinterpret_cast<uintptr_t>(data);
  auto found = live_.upper_bound(address);
  if (found == live_.begin()) return;
  --found;
  auto& bits = found->second.initialised;
  if (bits.empty()) return;
  const size_t first = address - found->first, last = std::min(first + bytes, found->second.bytes);
  for (size_t i = first; i < last; ++i) {
    if (i % 8 == 0 && i + 8 <= last) {
      const size_t whole = (last - i) / 8;
      std::memset(&bits[i / 8], 0xFF, whole);
      i += whole * 8 - 1;
    } else {
      bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | 1u << i % 8);
    }
  }
}

bool TrackedMemory::contains(const void* data, size_t bytes) const {
  const std::lock_guard lock(mutex_);
  const auto address = reinterpret_cast<uintptr_t>(data);
  auto found = live_.upper_bound(address);
  if (found == live_.begin()) return false;
  --found;
  const size_t offset = address - found->first;
  return offset <= found->second.bytes && bytes <= found->second.bytes - offset;
}

std::shared_ptr<const MemorySnapshot> TrackedMemory::snapshot() const {
  const std::lock_guard lock(mutex_);
  if (!snapshot_) {
    auto fresh = std::make_shared<MemorySnapshot>();
    fresh->live.reserve(live_.size());
    for (const auto& [address, record] : live_)
      fresh->live.push_back(
          {address, address + record.bytes,
           record.initialised.empty() ? nullptr : const_cast<uint8_t*>(record.initialised.data())});
    snapshot_ = std::move(fresh);
  }
  return snapshot_;
}

std::string TrackedMemory::name_at(uintptr_t address) const {
  const std::lock_guard lock(mutex_);
  auto found = live_.upper_bound(address);
  return found == live_.begin() ? "unknown memory" : "'" + std::prev(found)->second.what + "'";
}

std::string TrackedMemory::describe(uintptr_t address, size_t bytes) const {
  const std::lock_guard lock(mutex_);
  char text[300];
  for (auto freed = freed_.rbegin(); freed != freed_.rend(); ++freed) {
    const auto& [begin, record] = *freed;
    if (address < begin || address >= begin + record.bytes) continue;
    std::snprintf(text, sizeof text, "use after free: byte %zu of freed '%s' (%zu bytes)",
                  address - begin, record.what.c_str(), record.bytes);
    return text;
  }
  auto after = live_.upper_bound(address);
  if (after != live_.begin()) {
    const auto& [begin, record] = *std::prev(after);
    const uintptr_t end = begin + record.bytes;
    if (address + bytes > end && address < end + (1 << 20)) {
      std::snprintf(text, sizeof text, "out of bounds: bytes %zu to %zu of '%s', which has %zu",
                    address - begin, address - begin + bytes, record.what.c_str(), record.bytes);
      return text;
    }
  }
  if (after != live_.end() && after->first - address < (1 << 20)) {
    std::snprintf(text, sizeof text, "out of bounds: %zu bytes before '%s', which has %zu bytes",
                  after->first - address, after->second.what.c_str(), after->second.bytes);
    return text;
  }
  std::snprintf(text, sizeof text, "out of bounds: no allocation near 0x%llx",
                static_cast<unsigned long long>(address));
  return text;
}

}  // namespace flyball::simulated_gpu

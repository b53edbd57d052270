#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace flyball::cpu {

namespace detail {
class ScratchBuffer {
 public:
  void* at_least(size_t bytes) {
    if (bytes > bytes_) {
      data_ = nullptr;  // first: old and new need not fit side by side
      bytes_ = 0;
      data_ = Memory(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
      bytes_ = bytes;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(std::byte* data) const { ::operator delete(data, kAlignment); }
  };
  using Memory = std::unique_ptr<std::byte, Delete>;
  Memory data_;
  size_t bytes_ = 0;
};
}  // namespace detail

// Uninitialised memory for count elements, 64-byte aligned, owned by the calling thread and reused
// by its next call with the same Tag: steady state allocates nothing.
template <class Tag, class T>
T* scratch(int64_t count) {
  thread_local detail::ScratchBuffer buffer;
  // The analyzer takes the old memory, which at_least() has just replaced, for the returned one.
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete)
  return static_cast<T*>(buffer.at_least(static_cast<size_t>(count) * sizeof(T)));
}

}  // namespace flyball::cpu

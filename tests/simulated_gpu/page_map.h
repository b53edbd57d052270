#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace flyball::simulated_gpu {

// A value for every byte of memory, made page by page when it is first asked for.
template <class Cell>
class PageMap {
 public:
  static constexpr uint64_t kPageBytes = 1024;
  using Page = std::array<Cell, kPageBytes>;

  Cell& at(uint64_t address) {
    const uint64_t number = address / kPageBytes;
    if (number != last_number_ || !last_) {
      auto& page = pages_[number];
      if (!page) page = std::make_unique<Page>();
      last_number_ = number;
      last_ = page.get();
    }
    return (*last_)[address % kPageBytes];
  }
  const std::unordered_map<uint64_t, std::unique_ptr<Page>>& pages() const { return pages_; }

 private:
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  uint64_t last_number_ = 0;
  Page* last_ = nullptr;
};

}  // namespace flyball::simulated_gpu

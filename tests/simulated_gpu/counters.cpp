#include "tests/simulated_gpu/counters.h"

#include <algorithm>

#include "tests/simulated_gpu/rows.h"

namespace flyball::simulated_gpu {

// 32 banks of 4 bytes. A request of 8 (16) bytes a lane is served half (a quarter) of the warp at a
// time; each part takes as many passes as the busiest bank holds different words.
void Counters::shared(uint32_t mask, uint32_t bytes, const uint64_t* at, uint64_t base) {
  ++counts_.shared_requests;
  const uint32_t words = std::max(1u, bytes / 4), lanes = 32 / words;
  for (uint32_t first = 0; first < 32; first += lanes) {
    uint64_t seen[32][32];
    uint32_t count[32] = {}, passes = 0;
    for (uint32_t l = first; l < first + lanes; ++l) {
      if (!(mask >> l & 1)) continue;
      for (uint32_t i = 0; i < words; ++i) {
        const uint64_t word = (at[l] - base) / 4 + i;
        const size_t bank = word % 32;
        if (std::find(seen[bank], seen[bank] + count[bank], word) != seen[bank] + count[bank])
          continue;
        seen[bank][count[bank]++] = word;
        passes = std::max(passes, count[bank]);
      }
    }
    if (passes > 1) counts_.shared_bank_conflicts += passes - 1;
  }
}

void Counters::global(uint32_t mask, uint32_t bytes, Access access, const uint64_t* at) {
  ++counts_.global_requests;
  uint64_t sectors[64];
  size_t n = 0;
  for_active(mask, [&](int l) {
    sectors[n++] = at[l] / 32;
    sectors[n++] = (at[l] + bytes - 1) / 32;
  });
  std::sort(sectors, sectors + n);
  counts_.global_sectors += static_cast<uint64_t>(std::unique(sectors, sectors + n) - sectors);
  const uint64_t moved = uint64_t{bytes} * static_cast<uint64_t>(std::popcount(mask));
  if (access != Access::write) counts_.global_bytes_read += moved;
  if (access != Access::read) counts_.global_bytes_written += moved;
}

void Counters::report(LaunchReport& report) const {
  report.global_bytes_read = counts_.global_bytes_read;
  report.global_bytes_written = counts_.global_bytes_written;
  report.global_requests = counts_.global_requests;
  report.global_sectors = counts_.global_sectors;
  report.shared_requests = counts_.shared_requests;
  report.shared_bank_conflicts = counts_.shared_bank_conflicts;
}

void Touched::global(uint32_t mask, uint32_t bytes, Access access, const uint64_t* at) {
  const uint8_t how = access == Access::read ? 1 : access == Access::write ? 2 : 3;
  for_active(mask, [&](int l) {
    for (uint64_t a = at[l]; a < at[l] + bytes; ++a) bytes_.at(a) |= how;
  });
}

void Touched::report(LaunchReport& report) const {
  std::vector<uint64_t> numbers;
  for (const auto& [number, page] : bytes_.pages()) numbers.push_back(number);
  std::sort(numbers.begin(), numbers.end());
  for (const uint64_t number : numbers) {
    const auto& page = *bytes_.pages().at(number);
    for (uint64_t i = 0; i < page.size(); ++i) {
      if (!page[i]) continue;
      const uintptr_t address = number * PageMap<uint8_t>::kPageBytes + i;
      const bool written = page[i] & 2;
      if (!report.touched.empty() && report.touched.back().end == address &&
          report.touched.back().written == written)
        ++report.touched.back().end;
      else
        report.touched.push_back({address, address + 1, written});
    }
  }
}

}  // namespace flyball::simulated_gpu

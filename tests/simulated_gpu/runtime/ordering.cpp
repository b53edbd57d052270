#include "tests/simulated_gpu/runtime/ordering.h"

#include <algorithm>
#include <cstdio>

#include "tests/simulated_gpu/runtime/memory.h"

namespace flyball::simulated_gpu::runtime {

void Clock::join(const Clock& other) {
  if (ticks_.size() < other.ticks_.size()) ticks_.resize(other.ticks_.size());
  for (size_t i = 0; i < other.ticks_.size(); ++i) ticks_[i] = std::max(ticks_[i], other.ticks_[i]);
}

void Clock::set(Stamp stamp) {
  if (ticks_.size() <= stamp.slot) ticks_.resize(stamp.slot + 1);
  ticks_[stamp.slot] = stamp.tick;
}

bool Clock::covers(const Clock& other) const {
  for (size_t slot = 0; slot < other.ticks_.size(); ++slot)
    if (other.ticks_[slot] > 0 && !covers({slot, other.ticks_[slot]})) return false;
  return true;
}

std::string Site::describe() const {
  return what + " on " + stream + ", issued at " + caller.describe();
}

Ordering& Ordering::get() {
  static auto* ordering = new Ordering;
  return *ordering;
}

Ordering::Ordering() : enabled_(environment_flag("SIMULATED_GPU_STREAM_RACES", true)) {}

size_t Ordering::new_slot() {
  ticks_.push_back(0);
  return ticks_.size() - 1;
}

Stamp Ordering::next(size_t slot) { return {slot, ++ticks_[slot]}; }

void Ordering::split(uintptr_t at) {
  auto after = cells_.upper_bound(at);
  if (after == cells_.begin()) return;
  const auto inside = std::prev(after);
  if (inside->first == at || inside->second.end <= at) return;
  Cell upper = inside->second;
  inside->second.end = at;
  cells_.emplace_hint(after, at, std::move(upper));
}

void Ordering::touch(uintptr_t begin, size_t bytes, bool writes, const Clock& clock, Stamp stamp,
                     const SitePointer& site) {
  if (!enabled_ || bytes == 0) return;
  const uintptr_t end = begin + bytes;
  split(begin);
  split(end);
  const auto same_work = [&](const Access& access) {
    return access.stamp.slot == stamp.slot && access.stamp.tick == stamp.tick;
  };
  uintptr_t next = begin;  // end of the cells seen so far
  auto cell = cells_.lower_bound(begin);
  for (; cell != cells_.end() && cell->first < end; ++cell) {
    const std::optional<Access>& last_write = cell->second.write;
    std::vector<Access>& reads = cell->second.reads;
    if (last_write && !same_work(*last_write) && !clock.covers(last_write->stamp))
      report(*last_write, true, site, writes, cell->first, cell->second.end);
    if (writes) {
      for (const Access& read : reads)
        if (!same_work(read) && !clock.covers(read.stamp))
          report(read, false, site, true, cell->first, cell->second.end);
      continue;
    }
    // Reads that this one is ordered after need no memory of their own.
    std::erase_if(reads, [&](const Access& read) {
      return read.stamp.slot == stamp.slot || clock.covers(read.stamp);
    });
    reads.push_back({stamp, site});
    if (next < cell->first) cells_.emplace_hint(cell, next, Cell{cell->first, {}, {{stamp, site}}});
    next = cell->second.end;
  }
  if (writes) {
    cells_.erase(cells_.lower_bound(begin), cell);
    cells_.emplace_hint(cell, begin, Cell{end, Access{stamp, site}, {}});
  } else if (next < end) {
    cells_.emplace_hint(cell, next, Cell{end, {}, {{stamp, site}}});
  }
}

void Ordering::forget(uintptr_t begin, size_t bytes) {
  if (bytes == 0) return;
  split(begin);
  split(begin + bytes);
  cells_.erase(cells_.lower_bound(begin), cells_.lower_bound(begin + bytes));
}

void Ordering::report(const Access& earlier, bool earlier_writes, const SitePointer& later,
                      bool later_writes, uintptr_t begin, uintptr_t end) {
  if (!reported_.insert(earlier.site->what + "|" + later->what).second) return;
  const auto verb = [](bool writes) { return writes ? "writes" : "reads"; };
  Errors::get().problem("race between streams: no event or synchronisation orders the two\n    " +
                        earlier.site->describe() + ", " + verb(earlier_writes) + "\n    " +
                        later->describe() + ", " + verb(later_writes) + "\n    " +
                        Memory::get().describe(begin, end - begin));
}

}  // namespace flyball::simulated_gpu::runtime

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/simulated_gpu/runtime/errors.h"

// Who is ordered after whom, by vector clocks: a component a stream (and a chain of a graph's
// nodes), a tick a piece of work.
namespace flyball::simulated_gpu::runtime {

// One piece of work: the tick-th of its slot.
struct Stamp {
  size_t slot = 0;
  uint64_t tick = 0;
};

// All work that is known to be finished before this point.
class Clock {
 public:
  void join(const Clock& other);
  void set(Stamp stamp);
  bool covers(Stamp stamp) const {
    return stamp.slot < ticks_.size() && ticks_[stamp.slot] >= stamp.tick;
  }
  bool covers(const Clock& other) const;

 private:
  std::vector<uint64_t> ticks_;
};

// What a piece of work is, for messages.
struct Site {
  std::string what;    // "kernel f <<<(2,1,1), (32,1,1)>>>"
  std::string stream;  // "stream 3"
  CallSite caller;
  std::string describe() const;
};

using SitePointer = std::shared_ptr<const Site>;

// The last accesses to every byte that work on the device has touched.
class Ordering {
 public:
  static Ordering& get();
  size_t new_slot();
  Stamp next(size_t slot);

  // Work `stamp`, which starts after `clock`, touches [begin, begin + bytes). Reports a race with
  // earlier work that the clock does not cover, when either writes; a pair of descriptions once.
  void touch(uintptr_t begin, size_t bytes, bool writes, const Clock& clock, Stamp stamp,
             const SitePointer& site);
  void forget(uintptr_t begin, size_t bytes);  // freed memory
  void forget_reports() { reported_.clear(); }
  bool enabled() const { return enabled_; }  // SIMULATED_GPU_STREAM_RACES, on unless "0"

 private:
  struct Access {
    Stamp stamp;
    SitePointer site;
  };
  struct Cell {
    uintptr_t end = 0;
    std::optional<Access> write;
    std::vector<Access> reads;
  };
  using Cells = std::map<uintptr_t, Cell>;

  Ordering();
  void split(uintptr_t at);
  void report(const Access& earlier, bool earlier_writes, const SitePointer& later,
              bool later_writes, uintptr_t begin, uintptr_t end);

  bool enabled_;
  std::vector<uint64_t> ticks_;
  Cells cells_;
  std::set<std::string> reported_;
};

}  // namespace flyball::simulated_gpu::runtime

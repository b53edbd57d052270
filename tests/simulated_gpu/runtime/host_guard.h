#pragma once

#include <cstdint>
#include <vector>

#include "tests/simulated_gpu/runtime/ordering.h"

namespace flyball::simulated_gpu::runtime {

// Finds host code that touches pinned memory while an asynchronous copy may still use it: until the
// host is ordered after the copy, the pages of a destination are inaccessible and those of a source
// read-only, and the fault names the copy. Other bytes of the same pages stay usable: their first
// access opens the page until the next call that runs work.
class HostGuard {
 public:
  static HostGuard& get();
  void add(uintptr_t begin, size_t bytes, bool device_writes, Stamp stamp, const SitePointer& site);
  void settle(const Clock& host);  // the host is now ordered after this
  void forget(uintptr_t begin, size_t bytes);
  void open();                                    // before the device runs: it uses the same pages
  void close();                                   // after it
  bool on_fault(uintptr_t address, bool writes);  // false: not one of our pages

 private:
  struct Pending {
    uintptr_t begin, end;
    bool device_writes;
    Stamp stamp;
    SitePointer site;
  };
  void protect(const Pending& pending, int protection) const;

  std::vector<Pending> pending_;
  bool open_ = true;
};

// Opens the guarded pages for the work of one scope.
struct HostGuardOpen {
  HostGuardOpen() { HostGuard::get().open(); }
  ~HostGuardOpen() { HostGuard::get().close(); }
};

}  // namespace flyball::simulated_gpu::runtime

#include "tests/simulated_gpu/runtime/host_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>

#include "tests/simulated_gpu/runtime/memory.h"

namespace flyball::simulated_gpu::runtime {
namespace {

constexpr uintptr_t kPage = 4096;
struct sigaction previous_action;

void handler(int number, siginfo_t* info, void* context) {
  // Bit 1 of the page fault's error code: the access was a write.
  const bool writes = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & 2;
  if (HostGuard::get().on_fault(reinterpret_cast<uintptr_t>(info->si_addr), writes)) return;
  // Not ours: the instruction runs again under the action that was there before.
  sigaction(number, &previous_action, nullptr);
}

// A test framework may have put its own handler in front since the last time.
void install_handler() {
  struct sigaction current;
  sigaction(SIGSEGV, nullptr, &current);
  if (current.sa_flags & SA_SIGINFO && current.sa_sigaction == handler) return;
  previous_action = current;
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, nullptr);
}

uintptr_t page_of(uintptr_t address) { return address / kPage * kPage; }

}  // namespace

HostGuard& HostGuard::get() {
  static auto* guard = new HostGuard;
  return *guard;
}

void HostGuard::protect(const Pending& pending, int protection) const {
  const uintptr_t begin = page_of(pending.begin);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are looked up as numbers
  mprotect(reinterpret_cast<void*>(begin), page_of(pending.end - 1) + kPage - begin, protection);
}

void HostGuard::add(uintptr_t begin, size_t bytes, bool device_writes, Stamp stamp,
                    const SitePointer& site) {
  pending_.push_back({begin, begin + bytes, device_writes, stamp, site});
}

void HostGuard::settle(const Clock& host) {
  if (pending_.empty()) return;
  open();
  std::erase_if(pending_, [&](const Pending& pending) { return host.covers(pending.stamp); });
  close();
}

void HostGuard::forget(uintptr_t begin, size_t bytes) {
  open();
  std::erase_if(pending_, [&](const Pending& pending) {
    return pending.begin < begin + bytes && begin < pending.end;
  });
  close();
}

void HostGuard::open() {
  if (open_) return;
  for (const Pending& pending : pending_) protect(pending, PROT_READ | PROT_WRITE);
  open_ = true;
}

void HostGuard::close() {
  if (!open_ || pending_.empty()) return;
  install_handler();
  for (const Pending& pending : pending_)
    if (!pending.device_writes) protect(pending, PROT_READ);
  for (const Pending& pending : pending_)
    if (pending.device_writes) protect(pending, PROT_NONE);
  open_ = false;
}

bool HostGuard::on_fault(uintptr_t address, bool writes) {
  const std::lock_guard lock(runtime_mutex());
  const uintptr_t page = page_of(address);
  const auto same_page = [&](const Pending& pending) {
    return page_of(pending.begin) <= page && page < pending.end;
  };
  if (std::none_of(pending_.begin(), pending_.end(), same_page)) return false;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): addresses are looked up as numbers
  mprotect(reinterpret_cast<void*>(page), kPage, PROT_READ | PROT_WRITE);
  const auto raced = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    return pending.begin <= address && address < pending.end && (writes || pending.device_writes);
  });
  if (raced == pending_.end()) return true;
  const Pending found = *raced;
  protect(found, PROT_READ | PROT_WRITE);
  pending_.erase(raced);
  Errors::get().problem(std::string("race with the host: it ") + (writes ? "writes" : "reads") +
                        " pinned memory that an asynchronous copy may still " +
                        (found.device_writes ? "write" : "read") + "\n    host access at " +
                        CallSite::here().describe() + "\n    " + found.site->describe() + "\n    " +
                        Memory::get().describe(found.begin, found.end - found.begin));
  return true;
}

}  // namespace flyball::simulated_gpu::runtime

#include "tests/simulated_gpu/checks.h"

#include <optional>

#include "tests/simulated_gpu/counters.h"
#include "tests/simulated_gpu/race_check.h"
#include "tests/simulated_gpu/rows.h"

namespace flyball::simulated_gpu {
namespace {

class RequestedChecks final : public Checks {
 public:
  RequestedChecks(const Launch& launch, bool tracking)
      : tracking_(tracking), uninitialised_(launch.options.uninitialised_check) {
    const Options& options = launch.options;
    if (options.race_check || uninitialised_) shared_.emplace(options.race_check, uninitialised_);
    if (options.race_check) global_.emplace(launch.blocks);
    if (options.count) counters_.emplace();
    if (options.touched) touched_.emplace();
  }

  void access(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes, Access access,
              const uint64_t* at) override {
    if (in.space == Space::local || in.space == Space::parameter) return;
    const uint64_t base = reinterpret_cast<uint64_t>(w.block->shared);
    uint32_t in_shared = in.space == Space::shared ? mask : 0,
             in_global = in.space == Space::global ? mask : 0;
    if (in.space == Space::generic)
      for_active(mask, [&](int l) {
        if (at[l] - base < w.block->shared_bytes)
          in_shared |= 1u << l;
        else if (w.block->launch.memory.find(at[l]))
          in_global |= 1u << l;
      });
    if (in_shared) {
      if (counters_) counters_->shared(in_shared, bytes, at, base);
      if (shared_) shared_->access(w, in, in_shared, bytes, access, at);
    }
    if (in_global) {
      if (counters_) counters_->global(in_global, bytes, access, at);
      if (touched_) touched_->global(in_global, bytes, access, at);
      if (tracking_) initialise(w, in, in_global, bytes, access, at);
      if (global_) global_->access(w, in, in_global, bytes, access, at);
    }
  }
  void block_starts(Block& block) override {
    if (shared_) shared_->block_starts(block);
    if (global_) global_->block_starts(block);
  }
  void warp_synchronises(Warp& w) override {
    if (shared_) shared_->warp_synchronises(w);
  }
  void fence(Warp& w) override {
    if (global_) global_->fence(*w.block);
  }
  void barrier_arrives(Warp& w, uint32_t id) override {
    if (shared_) shared_->barrier_arrives(w, id);
  }
  void barrier_releases(Block& block, uint32_t id) override {
    if (shared_) shared_->barrier_releases(block, id);
  }
  void report(LaunchReport& report) override {
    if (counters_) counters_->report(report);
    if (touched_) touched_->report(report);
  }

 private:
  void initialise(Warp& w, const Instruction& in, uint32_t mask, uint32_t bytes, Access access,
                  const uint64_t* at) const {
    const Launch& launch = w.block->launch;
    const Allocation* last = nullptr;
    for_active(mask, [&](int l) {
      if (!last || at[l] < last->begin || at[l] >= last->end) last = launch.memory.find(at[l]);
      if (!last || !last->initialised) return;
      for (uint64_t i = at[l] - last->begin; i < at[l] - last->begin + bytes; ++i) {
        uint8_t& bits = last->initialised[i / 8];
        const auto bit = static_cast<uint8_t>(1u << i % 8);
        if (uninitialised_ && access != Access::write && !(bits & bit))
          w.fault(in, l,
                  "uninitialised read: byte " + std::to_string(i) + " of " +
                      launch.device->name_at(at[l]) + " was never written");
        if (access != Access::read) bits = static_cast<uint8_t>(bits | bit);
      }
    });
  }

  const bool tracking_, uninitialised_;
  std::optional<SharedRaceCheck> shared_;
  std::optional<GlobalRaceCheck> global_;
  std::optional<Counters> counters_;
  std::optional<Touched> touched_;
};

}  // namespace

std::unique_ptr<Checks> Checks::make(Launch& launch, bool tracking) {
  const Options& o = launch.options;
  if (!o.race_check && !o.uninitialised_check && !o.count && !o.touched && !tracking)
    return nullptr;
  return std::make_unique<RequestedChecks>(launch, tracking);
}

}  // namespace flyball::simulated_gpu

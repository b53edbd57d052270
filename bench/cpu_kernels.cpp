#include <cstdio>

#include "bench/kernel_bench.h"
#include "bench/peers/peers.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/winograd.h"

namespace flyball::bench {

using namespace flyball::testing;

namespace {

constexpr double kPeerError = 1e-3;  // above it a peer computes something else

const char* backend_name() { return cpu::backend() == cpu::Backend::kOneDnn ? "onednn" : "eigen"; }

// Of gemm and conv2d: the library, where Winograd is not used in its place.
std::string implementation_of(const OpCase& op, const std::any& arguments) {
  if (op.operation != "gemm" && op.operation != "conv2d") return "flyball";
  bool winograd = false;
  const auto look = [&](const auto& held) { winograd = cpu::winograd::applies(held); };
  if_holds<Conv2dForward<float>>(arguments, look);
  if_holds<Conv2dBackwardData<float>>(arguments, look);
  if_holds<Conv2dBackwardWeights<float>>(arguments, look);
  return winograd ? "flyball" : backend_name();
}

class CpuBench {
 public:
  CpuBench(const KernelOptions& options, KernelTable& table)
      : options_(options), table_(table), ceilings_(measure_ceilings(wall())) {
    std::printf(
        "f32 on cpu, %d thread%s, %s time, gemm and conv2d by %s, Winograd %s on %s, commit %s\n",
        options_.threads, options_.threads == 1 ? "" : "s", wall() ? "wall" : "process",
        backend_name(), cpu::name_of(cpu::winograd_use()), cpu::name_of(cpu::instruction_set()),
        table_.commit().c_str());
    std::printf("measured ceilings: %.1f GFLOP/s multiply-add, %.1f GB/s copy\n", ceilings_.gflops,
                ceilings_.gbs);
  }

  void run(const std::vector<OpCase>& cases, const OpCase& op) {
    Row row{.family = op.operation,
            .shape = op.name,
            .dtype = "f32",
            .implementation = "flyball",
            .checked_as = op.checked_as,
            .flops = op.flops,
            .bytes = op.bytes,
            .ceilings = ceilings_};
    std::string fault;
    try {
      fault = check_case(stream_, cases, op, DType::f32, row.relative_error);
      if (!fault.empty()) fault = "wrong " + fault;
      if (fault.empty()) time(op, row);
    } catch (const std::exception& error) {
      fault = error.what();
    }
    if (!fault.empty()) return table_.add_fault(op.operation, op.name, fault);
    table_.add(row);
  }

 private:
  bool wall() const { return options_.threads > 1; }

  void time(const OpCase& op, Row& row) {
    const Operands operands(stream_, op, DType::f32, kSeed, 0);
    const Launch launch = op.prepare(operands);
    if (op.arguments) row.implementation = implementation_of(op, op.arguments(operands));
    row.timing = measure([&] { launch(stream_); }, options_.seconds, wall());
    if (!wall() && op.arguments) {
      time_peers(
          op, [&] { launch(stream_); }, row);
    }
  }

  // Each peer works on operands of its own, and its outputs are checked before it is timed.
  template <class Ours>
  void time_peers(const OpCase& op, Ours&& ours, Row& row) {
    const Operands operands(stream_, op, DType::f32, kSeed, 0);
    std::vector<Peer> peers = peers_of(op.arguments(operands));
    if (peers.empty()) return;
    const Operands checked(stream_, op, DType::f32, kSeed, 0);
    op.prepare(checked)(stream_);
    for (const Peer& peer : peers) {
      if (peer.implementation == row.implementation) continue;  // ours is that library
      peer.run();
      const double error = difference(op, checked, operands, peer.leaves);
      if (!(error < kPeerError)) {
        std::printf("%-54s %s: not timed, off by %.0e\n", op.name.c_str(), peer.implementation,
                    error);
        continue;
      }
      row.peers.push_back({.implementation = peer.implementation,
                           .times = compare_times(ours, peer.run, options_.seconds, wall()),
                           .relative_error = error});
    }
  }

  const KernelOptions& options_;
  KernelTable& table_;
  Ceilings ceilings_;
  Stream stream_;
};

}  // namespace

void bench_on_cpu(const KernelOptions& options, const std::vector<OpCase>& cases,
                  KernelTable& table) {
  CpuBench bench(options, table);
  for (const OpCase& op : cases) {
    if (!op.benchmark || op.title().find(options.filter) == std::string::npos) continue;
    if (op.runs(DType::f32, Device::Kind::cpu)) bench.run(cases, op);
  }
}

}  // namespace flyball::bench

#include <algorithm>
#include <cstdio>
#include <set>
#include <thread>

#include "bench/device_ceilings.h"
#include "bench/device_timing.h"
#include "bench/kernel_bench.h"
#include "bench/peers/device_peers.h"
#include "bench/simulated_counters.h"
#include "framework/allocator.h"
#include "kernels/cpu/parallel.h"

namespace flyball::bench {

using namespace flyball::testing;

namespace {

// Operands of one case in device memory, at least kL2Times the L2 cache together.
constexpr int64_t kL2Times = 3;
constexpr int64_t kMostCopies = 1024;

// A case in one of its precisions.
struct Work {
  const OpCase& op;
  DType real;
  std::string dtype;  // f32, tf32 or bf16

  bool named() const { return dtype == "f32" || op.name.starts_with(dtype + " "); }
  std::string shape() const { return named() ? op.name : dtype + " " + op.name; }
};

std::string dtype_of(const OpCase& op, DType real) {
  if (real == DType::bf16) return "bf16";
  return op.name.starts_with("tf32 ") ? "tf32" : "f32";
}

int64_t bytes_of_operands(const OpCase& op, DType real) {
  int64_t bytes = 0;
  for (const Operand& operand : op.operands) {
    if (operand.role == Role::scratch) continue;
    bytes += operand_bytes(operand, real) * (operand.role == Role::in_out ? 2 : 1);
  }
  return bytes;
}

// The case's bytes are those in f32.
double bytes_moved(const Work& work) {
  return work.op.bytes * static_cast<double>(bytes_of_operands(work.op, work.real)) /
         static_cast<double>(bytes_of_operands(work.op, DType::f32));
}

// Peers that round once to bf16, and to tf32 in another way, are off by more.
double peer_error(const std::string& dtype) { return dtype == "bf16" ? 0x1p-6 : 1e-3; }

std::vector<DevicePeers> peers_on_device(const Stream& stream, const std::any& arguments) {
  std::vector<DevicePeers> peers;
  for (const auto offer : {offer_cublaslt, offer_cudnn}) {
    DevicePeers of_library = offer(stream, arguments);
    if (!of_library.library.empty()) peers.push_back(std::move(of_library));
  }
  return peers;
}

class DeviceBench {
 public:
  DeviceBench(const KernelOptions& options, KernelTable& table)
      : options_(options),
        table_(table),
        stream_(parse_device(options.device)),
        facts_(facts_of(stream_)) {}

  void run(const std::vector<OpCase>& cases, const Work& work) {
    std::string fault;
    double relative_error = 0;
    try {
      fault = check_case(stream_, cases, work.op, work.real, relative_error);
      if (!fault.empty()) fault = "wrong " + fault;
      if (fault.empty()) report(work, relative_error);
    } catch (const std::exception& error) {
      fault = error.what();
    }
    if (!fault.empty()) table_.add_fault(work.op.operation, work.shape(), fault);
    allocator(stream_.device()).release_cached();
  }

 protected:
  virtual void report(const Work& work, double relative_error) = 0;
  ~DeviceBench() = default;

  const KernelOptions& options_;
  KernelTable& table_;
  Stream stream_;
  DeviceFacts facts_;
};

// On the simulated GPU, which has counters and no time.
class CountedBench final : public DeviceBench {
 public:
  CountedBench(const KernelOptions& options, KernelTable& table) : DeviceBench(options, table) {
    std::printf("%s, counters and no times, commit %s\n", facts_.name.c_str(),
                table.commit().c_str());
  }

 private:
  void report(const Work& work, double relative_error) override {
    const Operands operands(stream_, work.op, work.real, kSeed, 0);
    const Launch launch = work.op.prepare(operands);
    const std::vector<nlohmann::json> kernels = counters_of([&] {
      launch(stream_);
      stream_.synchronize();
    });
    table_.begin(work.op.operation, counter_columns());
    for (const nlohmann::json& kernel : kernels) {
      std::printf("%-54s %s  %s\n", &kernel == kernels.data() ? work.shape().c_str() : "",
                  counter_line(kernel).c_str(), short_name(kernel).c_str());
    }
    nlohmann::ordered_json line =
        table_.line(work.op.operation, work.shape(), work.dtype, "flyball");
    line["kernels"] = kernels;
    line["relative_error"] = relative_error;
    line["commit"] = table_.commit();
    if (!work.op.checked_as.empty()) line["checked_as"] = work.op.checked_as;
    const char* library = work.op.operation == "gemm"     ? "cublaslt"
                          : work.op.operation == "conv2d" ? "cudnn"
                                                          : nullptr;
    if (library != nullptr) {
      std::printf("%54s %11s\n", library, "absent");
      line["peer"] = "absent";
      line["peer_implementation"] = library;
    }
    table_.write(line);
    std::fflush(stdout);
  }
};

class TimedBench final : public DeviceBench {
 public:
  TimedBench(const KernelOptions& options, KernelTable& table)
      : DeviceBench(options, table), ceilings_(measure_device_ceilings(stream_)) {
    std::printf("%s, compute capability %d.%d, %d processors, %.1f MB L2, commit %s\n",
                facts_.name.c_str(), facts_.compute_capability / 10, facts_.compute_capability % 10,
                facts_.processors, 1e-6 * static_cast<double>(facts_.l2_bytes),
                table.commit().c_str());
    std::printf(
        "measured ceilings: GFLOP/s multiply-add f32 %.0f, tf32 %.0f, bf16 %.0f (mma.sync); "
        "%.1f GB/s copy\n",
        ceilings_.f32_gflops, ceilings_.tf32_gflops, ceilings_.bf16_gflops, ceilings_.gbs);
  }

 private:
  Ceilings ceilings_for(const std::string& dtype) const {
    const double gflops = dtype == "tf32"   ? ceilings_.tf32_gflops
                          : dtype == "bf16" ? ceilings_.bf16_gflops
                                            : ceilings_.f32_gflops;
    return {.gflops = gflops, .gbs = ceilings_.gbs};
  }

  void report(const Work& work, double relative_error) override {
    Row row{.family = work.op.operation,
            .shape = work.shape(),
            .dtype = work.dtype,
            .implementation = "flyball",
            .checked_as = work.op.checked_as,
            .flops = work.op.flops,
            .bytes = bytes_moved(work),
            .ceilings = ceilings_for(work.dtype),
            .relative_error = relative_error};
    const int64_t bytes = std::max<int64_t>(bytes_of_operands(work.op, work.real), 1);
    const int64_t copies =
        std::clamp<int64_t>((kL2Times * facts_.l2_bytes + bytes - 1) / bytes, 1, kMostCopies);
    std::vector<Operands> operands{{stream_, work.op, work.real, kSeed, 0}};
    while (static_cast<int64_t>(operands.size()) < copies) {
      operands.push_back(operands.front().clone());
    }
    std::vector<Launch> launches;
    for (const Operands& copy : operands) launches.push_back(work.op.prepare(copy));
    const auto at = [](auto& values, int i) -> auto& { return values[static_cast<size_t>(i)]; };
    const TimedGraph ours(
        stream_, [&](int i) { at(launches, i)(stream_); }, static_cast<int>(copies));
    row.timing = timing_of([&] { return ours.seconds(); }, options_.seconds);
    {
      const TimedGraph warm(
          stream_, [&](int) { launches.front()(stream_); }, 1);
      row.warm = timing_of([&] { return warm.seconds(); }, options_.seconds / 2);
    }
    std::vector<std::any> arguments;
    for (const Operands& copy : operands) {
      arguments.push_back(work.op.arguments ? work.op.arguments(copy) : std::any());
    }
    for (const DevicePeers& library : peers_on_device(stream_, arguments.front())) {
      if (library.offers.empty()) {
        say_absent(library);
        row.peers.push_back({.implementation = library.library});
      }
      for (const DevicePeer& peer : library.offers) {
        const double error = error_of(work, peer);
        if (!(error < peer_error(work.dtype))) {
          std::printf("%-54s %s: not timed, off by %.0e\n", row.shape.c_str(),
                      peer.implementation.c_str(), error);
          continue;
        }
        const TimedGraph theirs(
            stream_, [&](int i) { peer.enqueue(at(arguments, i)); }, static_cast<int>(copies));
        row.peers.push_back(
            {.implementation = peer.implementation,
             .times = compare_samples([&] { return ours.seconds(); },
                                      [&] { return theirs.seconds(); }, options_.seconds),
             .relative_error = error});
      }
    }
    table_.add(row);
  }

  // Of its outputs against ours, on operands of its own.
  double error_of(const Work& work, const DevicePeer& peer) const {
    const Operands ours(stream_, work.op, work.real, kSeed, 0);
    work.op.prepare(ours)(stream_);
    const Operands theirs(stream_, work.op, work.real, kSeed, 0);
    const std::any arguments = work.op.arguments(theirs);
    peer.enqueue(arguments);
    if (peer.deliver) peer.deliver(arguments);
    return difference(work.op, ours, theirs);
  }

  // Once for each reason.
  void say_absent(const DevicePeers& library) {
    if (!said_.insert(library.absent).second) return;
    std::printf("%s is absent: %s\n", library.library.c_str(), library.absent.c_str());
  }

  DeviceCeilings ceilings_;
  std::set<std::string> said_;
};

}  // namespace

void bench_on_cuda(const KernelOptions& options, const std::vector<OpCase>& cases,
                   KernelTable& table) {
  // The checks compute on the host, which has nothing else to do.
  cpu::set_threads(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  const auto run = [&](DeviceBench& bench) {
    for (const OpCase& op : cases) {
      if (!op.benchmark) continue;
      for (const DType real : {DType::f32, DType::bf16}) {
        if (!op.runs(real, Device::Kind::cuda)) continue;
        const Work work{op, real, dtype_of(op, real)};
        const std::string precision = work.dtype == "f32" ? "fp32" : work.dtype;
        if (options.precision != "all" && options.precision != precision) continue;
        const std::string title = op.operation + " " + work.shape();
        if (title.find(options.filter) != std::string::npos) bench.run(cases, work);
      }
    }
  };
  if (on_simulated_gpu()) {
    CountedBench bench(options, table);
    run(bench);
  } else {
    TimedBench bench(options, table);
    run(bench);
  }
}

}  // namespace flyball::bench

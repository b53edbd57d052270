// Times every kernel on the benchmark cases of tests/op_cases.h, after checking its results. See
// bench/README.md.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/ceilings.h"
#include "bench/measure.h"
#include "bench/peers/peers.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/winograd.h"
#include "tests/op_checks.h"

namespace {

using namespace flyball;
using namespace flyball::bench;
using namespace flyball::testing;

struct Options {
  std::string filter, backend, json;
  int threads = 1;
  double seconds = 0.5;
};

struct PeerRow {
  std::string implementation;
  Comparison times;
  double relative_error = 0;
};

struct Row {
  std::string implementation = "flyball";
  Timing timing;
  double gflops = 0, gbs = 0, floor_us = 0, pct_floor = 0, relative_error = 0;
  std::vector<PeerRow> peers;
};

std::string ratio_text(const Comparison& times) {
  char text[48];
  std::snprintf(text, sizeof text, "%.2f (%.2f..%.2f)%s", times.ratio, times.low, times.high,
                times.tie()       ? " tie"
                : times.ratio < 1 ? " LOSS"
                                  : "");
  return text;
}

std::string commit() {
  std::string text;
  FILE* git = popen("git -C " FLYBALL_SOURCE_DIR " describe --always --dirty 2>/dev/null", "r");
  if (git == nullptr) return "unknown";
  for (int c; (c = std::fgetc(git)) != EOF && c != '\n';) text += static_cast<char>(c);
  pclose(git);
  return text.empty() ? "unknown" : text;
}

class KernelBench {
 public:
  KernelBench(Options options, std::vector<OpCase> cases)
      : options_(std::move(options)), cases_(std::move(cases)), commit_(commit()) {
    if (!options_.json.empty()) {
      json_.open(options_.json);
      if (!json_) throw Error(str("--json ", options_.json, ": cannot write"));
    }
  }

  // The number of cases with wrong results.
  int run() {
    ceilings_ = measure_ceilings(wall());
    std::printf(
        "f32 on cpu, %d thread%s, %s time, gemm and conv2d by %s, Winograd %s on %s, "
        "commit %s\n",
        options_.threads, options_.threads == 1 ? "" : "s", wall() ? "wall" : "process",
        backend_name(), cpu::name_of(cpu::winograd_use()), cpu::name_of(cpu::instruction_set()),
        commit_.c_str());
    std::printf("measured ceilings: %.1f GFLOP/s multiply-add, %.1f GB/s copy\n", ceilings_.gflops,
                ceilings_.gbs);
    std::string family;
    for (const OpCase& op : cases_) {
      if (!op.benchmark || op.title().find(options_.filter) == std::string::npos) continue;
      if (!op.runs(DType::f32, Device::Kind::cpu)) continue;
      if (op.operation != family) print_header(family = op.operation);
      run_case(op);
    }
    print_means();
    return failures_;
  }

 private:
  bool wall() const { return options_.threads > 1; }
  static const char* backend_name() {
    return cpu::backend() == cpu::Backend::kOneDnn ? "onednn" : "eigen";
  }
  // Of gemm and conv2d: the library, where Winograd is not used in its place.
  static std::string implementation_of(const OpCase& op, const std::any& arguments) {
    if (op.operation != "gemm" && op.operation != "conv2d") return "flyball";
    bool winograd = false;
    const auto look = [&](const auto& held) { winograd = cpu::winograd::applies(held); };
    if_holds<Conv2dForward<float>>(arguments, look);
    if_holds<Conv2dBackwardData<float>>(arguments, look);
    if_holds<Conv2dBackwardWeights<float>>(arguments, look);
    return winograd ? "flyball" : backend_name();
  }

  static void print_header(const std::string& family) {
    std::printf("\n%-54s %11s %23s %8s %7s %7s %8s\n", family.c_str(), "us", "p10 - p90", "GFLOP/s",
                "GB/s", "% floor", "error");
  }

  void run_case(const OpCase& op) {
    std::optional<Row> row;
    std::string fault;
    try {
      fault = measure_case(op, row.emplace());
    } catch (const std::exception& error) {
      fault = error.what();
    }
    if (!fault.empty()) {
      ++failures_;
      std::printf("%-54s %s\n", op.name.c_str(), fault.c_str());
      return;
    }
    print_row(op, *row);
    if (json_.is_open()) write_json(op, *row);
    if (row->pct_floor > 0) shares_[op.operation].push_back(row->pct_floor);
    for (const PeerRow& peer : row->peers) {
      ratios_[op.operation + " / " + peer.implementation].push_back(peer.times.ratio);
      if (peer.times.ratio >= 1 || peer.times.tie()) continue;
      losses_.push_back(op.title() + ": " + peer.implementation + " " + ratio_text(peer.times));
    }
  }

  std::string measure_case(const OpCase& op, Row& row) {
    const std::string fault = check(checked_case(op), row.relative_error);
    if (!fault.empty()) return "wrong " + fault;
    const Operands operands(stream_, op, DType::f32, kSeed, 0);
    const Launch launch = op.prepare(operands);
    if (op.arguments) row.implementation = implementation_of(op, op.arguments(operands));
    row.timing = measure([&] { launch(stream_); }, options_.seconds, wall());
    const double us = row.timing.median;
    row.gflops = 1e-3 * op.flops / us;
    row.gbs = 1e-3 * op.bytes / us;
    row.floor_us = 1e-3 * std::max(op.flops / ceilings_.gflops, op.bytes / ceilings_.gbs);
    row.pct_floor = 100 * row.floor_us / us;
    if (!wall() && op.arguments)
      measure_peers(
          op, [&] { launch(stream_); }, row);
    return "";
  }

  // Each peer works on operands of its own, and its outputs are checked before it is timed.
  template <class Ours>
  void measure_peers(const OpCase& op, Ours&& ours, Row& row) {
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

  // The largest difference of the real outputs, over the largest value of each.
  static double difference(const OpCase& op, const Operands& wanted, const Operands& got,
                           const std::vector<std::string>& without) {
    double worst = 0;
    for (size_t i = 0; i < op.operands.size(); ++i) {
      const Operand& operand = op.operands[i];
      if (operand.role != Role::output) continue;
      if (std::find(without.begin(), without.end(), operand.name) != without.end()) continue;
      const std::vector<double> a = wanted.numbers(i), b = got.numbers(i);
      double largest = 0, off = 0;
      for (size_t j = 0; j < a.size(); ++j) {
        largest = std::max(largest, std::abs(a[j]));
        if (!(std::abs(a[j] - b[j]) <= off)) off = std::abs(a[j] - b[j]);  // NaN stays
      }
      if (!(off <= worst * largest)) worst = off / largest;
    }
    return worst;
  }

  // Against the kernel in f64, which the tests check against the naive reference.
  std::string check(const OpCase& op, double& relative_error) {
    const bool has_f64 = op.runs(DType::f64, Device::Kind::cpu);
    const Oracle oracle = has_f64 ? Oracle::f64_kernel : Oracle::reference;
    const Expected expected = expected_results(op, DType::f32, kSeed, oracle);
    const Operands got(stream_, op, DType::f32, kSeed, 0);
    op.prepare(got)(stream_);
    return compare(op, expected, got, &relative_error);
  }

  const OpCase& checked_case(const OpCase& op) const {
    if (op.checked_as.empty()) return op;
    for (const OpCase& other : cases_) {
      if (other.operation == op.operation && other.name == op.checked_as) return other;
    }
    throw Error(str(op.title(), ": no case is called ", op.checked_as));
  }

  static void print_row(const OpCase& op, const Row& row) {
    char flops[32] = "-";
    if (op.flops > 0) std::snprintf(flops, sizeof flops, "%.1f", row.gflops);
    std::printf("%-54s %11.1f %11.1f %11.1f %8s %7.1f %7.0f %8.0e%s\n", op.name.c_str(),
                row.timing.median, row.timing.p10, row.timing.p90, flops, row.gbs, row.pct_floor,
                row.relative_error, op.checked_as.empty() ? "" : (" of " + op.checked_as).c_str());
    for (const PeerRow& peer : row.peers) {
      std::printf("%54s %11.1f  peer / ours %s\n", peer.implementation.c_str(), peer.times.other_us,
                  ratio_text(peer.times).c_str());
    }
    std::fflush(stdout);
  }

  void write_json(const OpCase& op, const Row& row) {
    nlohmann::ordered_json line{{"case", op.operation},
                                {"shape", op.name},
                                {"dtype", "f32"},
                                {"device", "cpu"},
                                {"implementation", row.implementation},
                                {"us", row.timing.median},
                                {"p10", row.timing.p10},
                                {"p90", row.timing.p90},
                                {"gflops", row.gflops},
                                {"gbs", row.gbs},
                                {"floor_us", row.floor_us},
                                {"pct_floor", row.pct_floor},
                                {"relative_error", row.relative_error},
                                {"threads", options_.threads},
                                {"commit", commit_}};
    if (!op.checked_as.empty()) line["checked_as"] = op.checked_as;
    if (row.peers.empty()) json_ << line.dump() << std::endl;
    for (const PeerRow& peer : row.peers) {
      line["peer"] = "cpu";
      line["peer_implementation"] = peer.implementation;
      line["peer_us"] = peer.times.other_us;
      line["ratio"] = peer.times.ratio;
      line["ratio_spread"] = {peer.times.low, peer.times.high};
      line["tie"] = peer.times.tie();
      line["peer_relative_error"] = peer.relative_error;
      json_ << line.dump() << std::endl;
    }
  }

  using Families = std::map<std::string, std::vector<double>>;

  static void print_families(const char* title, const Families& families) {
    if (families.empty()) return;
    std::printf("\ngeometric mean of %s\n", title);
    for (const auto& [family, values] : families) {
      double logs = 0;
      for (const double value : values) logs += std::log(value);
      std::printf("  %-34s %6.2f  (%zu cases)\n", family.c_str(),
                  std::exp(logs / static_cast<double>(values.size())), values.size());
    }
  }

  void print_means() const {
    print_families("% floor", shares_);
    print_families("peer / ours", ratios_);
    if (!ratios_.empty()) std::printf("\nlosses: %s\n", losses_.empty() ? "none" : "");
    for (const std::string& loss : losses_) std::printf("  %s\n", loss.c_str());
    if (failures_ > 0) std::printf("%d cases with wrong results\n", failures_);
  }

  static constexpr uint64_t kSeed = 1;
  static constexpr double kPeerError = 1e-3;  // above it a peer computes something else

  Options options_;
  std::vector<OpCase> cases_;
  std::string commit_;
  Stream stream_;
  std::ofstream json_;
  Ceilings ceilings_;
  Families shares_, ratios_;
  std::vector<std::string> losses_;
  int failures_ = 0;
};

int run_program(int argc, char** argv) {
  Options options;
  CLI::App app("Times every kernel, after checking its results.", "bench_kernels");
  app.add_option("--filter", options.filter, "only cases whose name contains this: 'gemm nt'");
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--backend", options.backend, "of gemm and conv2d; default: the build's")
      ->check(CLI::IsMember({"eigen", "onednn"}));
  app.add_option("--seconds", options.seconds, "of measuring each case")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--json", options.json, "file for one JSON line a case");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::printf("%s", app.help().c_str());
    return 0;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "bench_kernels: %s (--help lists the flags)\n", error.what());
    return 2;
  }
  cpu::set_threads(options.threads);
  if (!options.backend.empty()) {
    cpu::set_backend(options.backend == "eigen" ? cpu::Backend::kEigen : cpu::Backend::kOneDnn);
  }
  return KernelBench(options, op_cases()).run() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_kernels: %s\n", error.what());
    return 2;
  }
}

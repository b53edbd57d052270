// Times every kernel on the benchmark cases of tests/op_cases.h, after checking its results. See
// bench/README.md.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "bench/kernel_bench.h"
#include "bench/simulated_counters.h"
#include "framework/run.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/parallel.h"

namespace {

using namespace flyball;
using namespace flyball::bench;

int run_program(int argc, char** argv) {
  KernelOptions options;
  CLI::App app("Times every kernel, after checking its results.", "bench_kernels");
  app.add_option("--filter", options.filter, "only cases whose name contains this: 'gemm nt'");
  app.add_option("--device", options.device, "cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--precision", options.precision, "on cuda: fp32, tf32, bf16 or all")
      ->check(CLI::IsMember({"fp32", "tf32", "bf16", "all"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "of the CPU")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--backend", options.backend,
                 "of gemm and conv2d on the CPU; default: the build's")
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
  const Device device = parse_device(options.device);
  cpu::set_threads(options.threads);
  if (!options.backend.empty()) {
    cpu::set_backend(options.backend == "eigen" ? cpu::Backend::kEigen : cpu::Backend::kOneDnn);
  }
  const char* device_name = device.kind == Device::Kind::cpu ? "cpu"
                            : on_simulated_gpu()             ? "simulated"
                                                             : "cuda";
  KernelTable table(device_name, options.threads, options.json);
  const std::vector<testing::OpCase> cases = testing::op_cases();
  if (device.kind == Device::Kind::cpu) {
    bench_on_cpu(options, cases, table);
  } else if constexpr (kHasCuda) {
    bench_on_cuda(options, cases, table);
  }
  table.print_means();
  return table.failures() == 0 ? 0 : 1;
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

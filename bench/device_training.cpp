#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/device_timing.h"
#include "bench/measure.h"
#include "bench/simulated_counters.h"
#include "bench/training_workload.h"
#include "framework/allocator.h"
#include "framework/step_graphs.h"

namespace flyball::bench {
namespace {

constexpr double kSampleMilliseconds = 20;  // of replays between two events, at least

void print_counters(const TrainingOptions& options, const DeviceFacts& facts,
                    const std::function<void()>& step) {
  const std::vector<nlohmann::json> kernels = counters_of(step);
  if (options.json) {
    const nlohmann::ordered_json line{{"implementation", "flyball"},    {"model", options.model},
                                      {"batch", options.batch},         {"device", "simulated"},
                                      {"precision", options.precision}, {"kernels", kernels}};
    std::printf("%s\n", line.dump().c_str());
    return;
  }
  std::printf("%s in %s, batch %lld, one step on the %s: counters and no times\n",
              options.model.c_str(), options.precision.c_str(),
              static_cast<long long>(options.batch), facts.name.c_str());
  std::printf("%-34s %s\n", "kernel", counter_columns().c_str());
  for (const nlohmann::json& kernel : kernels) {
    std::printf("%-34s %s\n", short_name(kernel).c_str(), counter_line(kernel).c_str());
  }
}

}  // namespace

void bench_training_on_cuda(const TrainingOptions& options) {
  Workload workload(options);
  const Stream& stream = workload.stream();
  const DeviceFacts facts = facts_of(stream);
  StepGraphs graphs(stream);
  const auto step = [&] { graphs.run(workload.batch(), [&] { return workload.step(); }); };
  step();  // enqueued one by one
  step();  // captured, and replayed once
  stream.synchronize();
  if (on_simulated_gpu()) {
    return print_counters(options, facts, [&] {
      step();
      stream.synchronize();
    });
  }

  const DeviceTimer timer(stream);
  const auto seconds_of = [&](int steps) {
    return timer.seconds([&] {
      for (int i = 0; i < steps; ++i) step();
    }) / steps;
  };
  timing_of([&] { return seconds_of(1); }, std::min(1.0, options.seconds / 3));
  const int steps = std::max(1, static_cast<int>(1e-3 * kSampleMilliseconds / seconds_of(3)));
  size_t samples = 0;
  const Timing timing = timing_of(
      [&] {
        ++samples;
        return seconds_of(steps);
      },
      options.seconds);
  const double step_ms = 1e-3 * timing.median;
  const nlohmann::ordered_json line{
      {"implementation", "flyball"},
      {"model", options.model},
      {"batch", options.batch},
      {"device", "cuda"},
      {"device_name", facts.name},
      {"precision", options.precision},
      {"mode", "graph"},
      {"clock", "device"},
      {"schedule", options.schedule},
      {"steps", samples * static_cast<size_t>(steps)},
      {"step_ms", step_ms},
      {"step_ms_min", 1e-3 * timing.least},
      {"step_ms_p10", 1e-3 * timing.p10},
      {"step_ms_p90", 1e-3 * timing.p90},
      {"samples_per_second", 1e3 * static_cast<double>(options.batch) / step_ms},
      {"peak_device_mb",
       static_cast<double>(allocator(stream.device()).counters().peak_live_bytes) / (1024 * 1024)},
      {"parameters", workload.parameters()}};
  if (options.json) {
    std::printf("%s\n", line.dump().c_str());
    return;
  }
  std::printf("%s in %s, batch %lld on %s, %zu steps of one graph (device time)\n",
              options.model.c_str(), options.precision.c_str(),
              static_cast<long long>(options.batch), facts.name.c_str(),
              samples * static_cast<size_t>(steps));
  for (const char* key :
       {"step_ms", "step_ms_p10", "step_ms_p90", "samples_per_second", "peak_device_mb"}) {
    std::printf("  %-22s %.3f\n", key, line[key].get<double>());
  }
}

}  // namespace flyball::bench

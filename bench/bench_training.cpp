// Times whole training steps of a model on one fixed batch: forward, backward, optimizer. See
// bench/README.md.

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "bench/training_workload.h"
#include "framework/progress.h"
#include "framework/run.h"
#include "kernels/cpu/parallel.h"
#include "models/process_settings.h"
#include "schedulers/schedules.h"

namespace {

using namespace flyball;
using namespace flyball::bench;

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// Milliseconds of each phase of one step.
struct StepTime {
  double forward = 0, backward = 0, optimizer = 0;
  double total() const { return forward + backward + optimizer; }
};

template <class Member>
double median_of(const std::vector<StepTime>& times, Member member) {
  std::vector<double> values(times.size());
  std::transform(times.begin(), times.end(), values.begin(), member);
  return quantile(values, 0.5);
}

StepTime timed_step(Workload& workload, bool wall) {
  const double start = now(wall);
  workload.forward();
  const double forward_done = now(wall);
  workload.backward();
  const double backward_done = now(wall);
  workload.optimize();
  const double end = now(wall);
  workload.release();
  return {1e3 * (forward_done - start), 1e3 * (backward_done - forward_done),
          1e3 * (end - backward_done)};
}

StepTime timed_evaluation(Workload& workload, bool wall) {
  const double start = now(wall);
  workload.evaluate();
  return {.forward = 1e3 * (now(wall) - start)};
}

template <class Step>
std::vector<StepTime> repeat(Step step, double seconds, size_t at_least) {
  std::vector<StepTime> times;
  const double end = now(true) + seconds;
  while (now(true) < end || times.size() < at_least) times.push_back(step());
  return times;
}

int bench_on_cpu(const TrainingOptions& options) {
  cpu::set_threads(options.threads);
  Workload workload(options);
  const auto step = [&] {
    const bool wall = options.threads > 1;
    return options.evaluate ? timed_evaluation(workload, wall) : timed_step(workload, wall);
  };
  repeat(step, std::min(3.0, options.seconds / 3), 3);
  const int64_t faults = page_faults();
  const std::vector<StepTime> times = repeat(step, options.seconds, 5);
  const double faults_per_step =
      static_cast<double>(page_faults() - faults) / static_cast<double>(times.size());

  std::vector<double> totals(times.size());
  std::transform(times.begin(), times.end(), totals.begin(),
                 [](const StepTime& t) { return t.total(); });
  const double step_ms = quantile(totals, 0.5);
  nlohmann::ordered_json line{
      {"implementation", "flyball"},
      {"model", options.model},
      {"pass", options.evaluate ? "evaluation" : "training"},
      {"batch", options.batch},
      {"threads", options.threads},
      {"clock", options.threads == 1 ? "cpu" : "wall"},
      {"schedule", options.schedule},
      {"steps", times.size()},
      {"step_ms", step_ms},
      {"step_ms_min", quantile(totals, 0)},
      {"step_ms_p10", quantile(totals, 0.1)},
      {"step_ms_p90", quantile(totals, 0.9)},
      {"samples_per_second", 1e3 * static_cast<double>(options.batch) / step_ms},
      {"peak_rss_mb", static_cast<double>(peak_memory_bytes()) / (1024 * 1024)},
      {"page_faults_per_step", faults_per_step},
      {"parameters", workload.parameters()}};
  if (!options.evaluate) {
    line["forward_ms"] = median_of(times, [](const StepTime& t) { return t.forward; });
    line["backward_ms"] = median_of(times, [](const StepTime& t) { return t.backward; });
    line["optimizer_ms"] = median_of(times, [](const StepTime& t) { return t.optimizer; });
  }
  if (options.json) {
    std::printf("%s\n", line.dump().c_str());
    return 0;
  }
  std::printf("%s, %s, batch %lld, %d thread%s, %zu steps (%s time)\n", options.model.c_str(),
              options.evaluate ? "evaluation" : "training", static_cast<long long>(options.batch),
              options.threads, options.threads == 1 ? "" : "s", times.size(),
              options.threads == 1 ? "process" : "wall");
  for (const char* key :
       {"step_ms", "step_ms_p10", "step_ms_p90", "forward_ms", "backward_ms", "optimizer_ms",
        "samples_per_second", "peak_rss_mb", "page_faults_per_step"}) {
    if (line.contains(key)) std::printf("  %-22s %.3f\n", key, line[key].get<double>());
  }
  return 0;
}

void parse(CLI::App& app, TrainingOptions& options, int argc, char** argv) {
  app.add_option("--model", options.model, "mlp, cnn, resnet18 or bilstm")
      ->check(CLI::IsMember({"mlp", "cnn", "resnet18", "bilstm"}))
      ->capture_default_str();
  app.add_option("--batch", options.batch)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--width", options.width, "filters of resnet18's first stage")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--recompute", options.recompute,
                 "auto, on or off: batch norms' results computed again in the backward pass")
      ->capture_default_str();
  app.add_option("--precision", options.precision, "on cuda: fp32, tf32 or bf16")
      ->check(CLI::IsMember({"fp32", "tf32", "bf16"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seconds", options.seconds, "of measuring, after a warm-up")
      ->check(CLI::PositiveNumber);
  app.add_option("--schedule", options.schedule, "learning-rate rule")
      ->check(CLI::IsMember(schedule_names()))
      ->capture_default_str();
  app.add_flag("--evaluate", options.evaluate, "time the forward pass of an evaluation instead");
  app.add_flag("--json", options.json, "print one JSON line");
  app.parse(argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  flush_subnormals();
  try {
    TrainingOptions options;
    CLI::App app("Times whole training steps of a model on one fixed batch.", "bench_training");
    try {
      parse(app, options, argc, argv);
    } catch (const CLI::CallForHelp&) {
      std::printf("%s", app.help().c_str());
      return 0;
    } catch (const CLI::ParseError& error) {
      std::fprintf(stderr, "bench_training: %s (--help lists the flags)\n", error.what());
      return 2;
    }
    if (parse_device(options.device).kind == Device::Kind::cpu) return bench_on_cpu(options);
    if (options.evaluate) throw Error("--evaluate is for --device cpu");
    if constexpr (kHasCuda) bench_training_on_cuda(options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_training: %s\n", error.what());
    return 2;
  }
}

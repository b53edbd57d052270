// Times whole training steps of a model on one fixed batch: forward, backward, optimizer. See
// bench/README.md.

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "framework/progress.h"
#include "framework/trainer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/philox.h"
#include "models/bilstm.h"
#include "models/cnn.h"
#include "models/malloc_settings.h"
#include "models/mlp.h"
#include "models/resnet.h"
#include "models/task.h"
#include "schedulers/schedules.h"

namespace {

using namespace flyball;

struct Options {
  std::string model = "cnn";
  int64_t batch = 64;
  int64_t width = 64;  // of resnet18
  int threads = 1;
  double seconds = 5;
  std::string schedule = "constant";
  bool evaluate = false;
  bool json = false;
};

// Process time for one thread, which other programs on the machine do not disturb; wall time for
// more.
double now(bool wall) {
  timespec time{};
  clock_gettime(wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

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

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(std::lround(q * static_cast<double>(values.size() - 1)))];
}

template <class Member>
double median_of(const std::vector<StepTime>& times, Member member) {
  std::vector<double> values(times.size());
  std::transform(times.begin(), times.end(), values.begin(), member);
  return quantile(values, 0.5);
}

constexpr int64_t kTime = 200;  // tokens of a sequence
constexpr BiLstmOptions kBiLstm{.dropout = 0};

Model make_network(const Options& options, Initializer& init) {
  if (options.model == "bilstm") return make_model<BiLstm>(init, kBiLstm);
  if (options.model == "resnet18") {
    return make_model<ResNet18>(init, ResNetOptions{.width = options.width});
  }
  if (options.model == "mlp") return make_model<Mlp>(init, Mlp::complex());
  return make_model<Cnn>(init);
}

Tensor random_tokens(const Stream& stream, int64_t batch) {
  std::vector<int32_t> tokens(static_cast<size_t>(kTime * batch));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = 1 + static_cast<int32_t>(philox_at(i, 1, 0, 7).word[0] %
                                         static_cast<uint32_t>(kBiLstm.vocabulary - 1));
  }
  return Tensor::from_host(stream, {kTime, batch}, std::span<const int32_t>(tokens));
}

Tensor random_images(const Stream& stream, const Shape& shape) {
  std::vector<float> x(static_cast<size_t>(shape.count()));
  for (size_t i = 0; i < x.size(); ++i) {
    const PhiloxWords words = philox_at(i, 0, 0, 7);
    x[i] = 3.4F * (uniform_float(words.word[0]) + uniform_float(words.word[1]) - 1);
  }
  return Tensor::from_host(stream, shape, std::span<const float>(x));
}

Batch make_batch(const Options& options, const Stream& stream) {
  const int64_t n = options.batch;
  const bool texts = options.model == "bilstm";
  std::vector<int32_t> labels(static_cast<size_t>(n));
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<int32_t>(i * 7 % (texts ? 2 : 10));
  Batch batch;
  batch.count = n;
  batch.labels = Tensor::from_host(stream, {n}, std::span<const int32_t>(labels));
  if (texts) {
    batch.x = random_tokens(stream, n);
    const std::vector<int32_t> lengths(static_cast<size_t>(n), kTime);
    batch.lengths = Tensor::from_host(stream, {n}, std::span<const int32_t>(lengths));
  } else {
    batch.x = random_images(
        stream, options.model == "resnet18" ? Shape{n, 32, 32, 3} : Shape{n, 28, 28, 1});
  }
  return batch;
}

// A network on one fixed batch of random images or tokens.
class Workload {
 public:
  explicit Workload(const Options& options)
      : options_(options),
        init_(stream_, 1),
        model_(make_network(options, init_)),
        arena_(stream_, *model_.module),
        rate_(stream_, make_rule(options.schedule, 1e-3)),
        adam_(stream_, arena_, rate_),
        batch_(make_batch(options, stream_)) {}

  StepTime evaluation_step() {
    const bool wall = options_.threads > 1;
    const NoGradient no_gradient;
    const Context context{.stream = stream_};
    const double start = now(wall);
    softmax_cross_entropy(context, model_.forward(context, batch_), batch_.labels);
    return {.forward = 1e3 * (now(wall) - start)};
  }

  StepTime step() {
    const bool wall = options_.threads > 1;
    const Context context{.stream = stream_, .training = true, .seed = 1, .step = rate_.step()};
    const double start = now(wall);
    const CrossEntropy entropy =
        softmax_cross_entropy(context, model_.forward(context, batch_), batch_.labels);
    const double forward_done = now(wall);
    entropy.loss.backward(stream_);
    const double backward_done = now(wall);
    result_ = {entropy.loss.value(), entropy.correct, options_.batch};
    adam_.enqueue_step(result_, rate_, stream_);
    const double end = now(wall);
    return {1e3 * (forward_done - start), 1e3 * (backward_done - forward_done),
            1e3 * (end - backward_done)};
  }

  int64_t parameters() { return parameter_count(*model_.module); }

 private:
  Options options_;
  Stream stream_;
  Initializer init_;
  Model model_;
  ParameterArena arena_;
  LearningRate rate_;
  Adam adam_;
  Batch batch_;
  StepResult result_;
};

template <class Step>
std::vector<StepTime> repeat(Step step, double seconds, size_t at_least) {
  std::vector<StepTime> times;
  const double end = now(true) + seconds;
  while (now(true) < end || times.size() < at_least) times.push_back(step());
  return times;
}

int run_bench(const Options& options) {
  cpu::set_threads(options.threads);
  Workload workload(options);
  const auto step = [&] { return options.evaluate ? workload.evaluation_step() : workload.step(); };
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
      {"mode", options.evaluate ? "evaluation" : "training"},
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

void parse(CLI::App& app, Options& options, int argc, char** argv) {
  app.add_option("--model", options.model, "mlp, cnn, resnet18 or bilstm")
      ->check(CLI::IsMember({"mlp", "cnn", "resnet18", "bilstm"}))
      ->capture_default_str();
  app.add_option("--batch", options.batch)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--width", options.width, "filters of resnet18's first stage")
      ->check(CLI::PositiveNumber)
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
  try {
    Options options;
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
    return run_bench(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_training: %s\n", error.what());
    return 1;
  }
}

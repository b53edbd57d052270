// Every learning-rate rule on a CUDA device, real or simulated, against the CPU, bit for bit.

#include <string>

#include "framework/run.h"
#include "kernels/learning_rate.h"
#include "tests/cuda_device.h"
#include "tests/rule_streams.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

constexpr int64_t kSteps = 240, kRows = 1000;

// One device's half of the comparison: the state and the signals there.
struct Side {
  const Stream& stream;
  DeviceValue<LearningRateState> state;
  DeviceValue<StepSignals> signals;

  Side(const Stream& on, const LearningRateState& start)
      : stream(on), state(on, start), signals(on, StepSignals{}) {}

  // Ends a step whose sums, counters and validation are those of `given`; its loss and its share of
  // right answers go the way an optimizer's do.
  LearningRateState step(const StepSignals& given) {
    signals.set(stream, given);
    const Tensor loss = Tensor::from_host(stream, {1}, std::span<const double>(&given.loss, 1));
    const auto right = static_cast<int32_t>(given.correct_fraction * kRows);
    const Tensor correct = Tensor::from_host(stream, {1}, std::span<const int32_t>(&right, 1));
    run<cpu::learning_rate<double>, cuda::learning_rate<double>>(
        stream, StepFeedback<double>{.loss = loss.data<double>(),
                                     .correct = correct.data<int32_t>(),
                                     .rows = kRows,
                                     .signals = signals.get(),
                                     .state = state.get()});
    return state.read(stream);
  }
};

// The first step after which the two states differ in any byte, or kSteps. `changes` counts the
// rates that differ from the one before.
int64_t first_difference(const Stream& cuda, const Rule& rule, RecordedRun recorded, int& changes) {
  LearningRateState start;
  start.rule = rule;
  start.rate = first_rate(rule);
  Side on_cpu(testing::stream(), start), on_cuda(cuda, start);
  StepSignals signals;
  signals.steps_per_epoch = 20;
  signals.total_steps = kSteps;
  double rate = start.rate;
  for (int64_t step = 0; step < kSteps; ++step) {
    recorded.next(signals);
    const LearningRateState a = on_cpu.step(signals), b = on_cuda.step(signals);
    if (bytes_of(a) != bytes_of(b)) return step;
    signals = on_cpu.signals.read(on_cpu.stream);
    if (on_cuda.signals.read(cuda).step != signals.step || signals.step != step + 1) return step;
    if (a.rate != rate) ++changes;
    rate = a.rate;
  }
  return kSteps;
}

}  // namespace

TEST_CASE("cuda rules: every schedule gives the CPU's bits for the same signals") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  for (const NamedSchedule& schedule : all_schedules()) {
    const Rule rule = make_rule(schedule.name, 0.02, schedule.options);
    int changes = 0;
    for (const RecordedRun& recorded :
         {RecordedRun{}, RecordedRun{.has_spike = true}, RecordedRun{.has_bad_losses = true}}) {
      const std::string what = recorded.has_spike        ? ", a spike"
                               : recorded.has_bad_losses ? ", bad losses"
                                                         : "";
      INFO(schedule.title(), what);
      CHECK(first_difference(*cuda, rule, recorded, changes) == kSteps);
    }
    // With its defaults plateau waits for ten evaluations without a new best.
    const bool stays = schedule.title() == "constant" || schedule.title() == "plateau";
    CHECK_MESSAGE((changes > 0) != stays, schedule.title(), ": ", changes, " changes");
  }
}

// Every case of the table on a CUDA device, real or simulated, against the naive reference.

#include <cstdlib>
#include <cstring>
#include <map>

#include "kernels/learning_rate.h"
#include "tests/cuda_device.h"
#include "tests/op_checks.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

TEST_CASE("cuda kernels: every case of the table gives the reference's results") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  const bool repeat = std::getenv("FLYBALL_TEST_ONCE") == nullptr;
  const char* only = std::getenv("FLYBALL_TEST_OPERATION");
  std::map<DType, int> cases;
  for (const OpCase& op : op_cases()) {
    if (op.benchmark || (only != nullptr && op.operation != only)) continue;
    for (const DType real : {DType::f32, DType::f64, DType::bf16}) {
      if (!op.runs(real, Device::Kind::cuda)) continue;
      CheckOptions options = default_check_options();
      options.repeat = repeat;
      const std::string fault = check_kernel(*stream, op, real, options);
      CHECK_MESSAGE(fault.empty(), op.title() << " in " << name_of(real) << ": " << fault);
      ++cases[real];
    }
  }
  MESSAGE(cases[DType::f32] << " cases in f32, " << cases[DType::f64] << " in f64, "
                            << cases[DType::bf16] << " in bf16");
  CHECK(cases[DType::f32] > 0);
}

TEST_CASE("cuda kernels: adam and sgd give the CPU's bits, sums and the rule's state included") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  int results = 0;
  for (const OpCase& op : op_cases()) {
    if (op.benchmark || (op.operation != "adam" && op.operation != "sgd")) continue;
    for (const DType real : {DType::f32, DType::f64}) {
      const Operands on_cpu(testing::stream(), op, real, 1, 0), on_cuda(*cuda, op, real, 1, 0);
      op.prepare(on_cpu)(testing::stream());
      op.prepare(on_cuda)(*cuda);
      for (size_t i = 0; i < op.operands.size(); ++i) {
        if (op.operands[i].role != Role::output && op.operands[i].role != Role::in_out) continue;
        const std::vector<double> want = on_cpu.numbers(i), got = on_cuda.numbers(i);
        const bool same = std::memcmp(want.data(), got.data(), want.size() * sizeof(double)) == 0;
        CHECK_MESSAGE(same, op.title() << " in " << name_of(real) << ": " << op.operands[i].name);
        ++results;
      }
    }
  }
  CHECK(results > 0);
}

TEST_CASE(
    "cuda kernels: the adaptive rule gives the same bits as on the CPU for the same signals") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  LearningRateState start;
  start.rule = make_adaptive(1e-3);
  start.rate = first_rate(start.rule);
  StepSignals signals;
  signals.steps_per_epoch = 50;
  signals.total_steps = 300;
  const Stream& cpu = testing::stream();
  const DeviceValue<LearningRateState> cpu_state(cpu, start), cuda_state(*cuda, start);
  DeviceValue<StepSignals> cpu_signals(cpu, signals), cuda_signals(*cuda, signals);
  const std::vector<double> noise = normal_values(300, 9);
  for (int step = 0; step < 300; ++step) {
    const double x = noise[static_cast<size_t>(step)];
    double loss = 2.3 / (1 + 0.02 * step) * (1 + 0.05 * x);
    if (step == 140) loss = 200;  // a rollback
    signals = cpu_signals.read(cpu);
    signals.gradient_norm_squared = 1 + 0.1 * x * x;
    signals.update_norm_squared = 2;
    signals.gradient_dot_update = (step < 60 ? 0.9 - 0.012 * step : 0.05) + 0.02 * x;
    const auto run_on = [&](const Stream& stream, const DeviceValue<LearningRateState>& state,
                            DeviceValue<StepSignals>& device_signals) {
      device_signals.set(stream, signals);
      const Tensor losses = Tensor::from_host(stream, {1}, std::span<const double>(&loss, 1));
      const int32_t right = 3;
      const Tensor correct = Tensor::from_host(stream, {1}, std::span<const int32_t>(&right, 1));
      run<cpu::learning_rate<double>, cuda::learning_rate<double>>(
          stream, StepFeedback<double>{.loss = losses.data<double>(),
                                       .correct = correct.data<int32_t>(),
                                       .rows = 7,
                                       .signals = device_signals.get(),
                                       .state = state.get()});
    };
    run_on(cpu, cpu_state, cpu_signals);
    run_on(*cuda, cuda_state, cuda_signals);
    const LearningRateState a = cpu_state.read(cpu), b = cuda_state.read(*cuda);
    REQUIRE(std::memcmp(&a.rate, &b.rate, sizeof a.rate) == 0);
    REQUIRE(a.action == b.action);
    REQUIRE(cpu_signals.read(cpu).step == cuda_signals.read(*cuda).step);
  }
  CHECK(cpu_state.read(cpu).rule.adaptive.rollbacks > 0);
}

// What bench_kernels compares with on a device, and how it times: on the simulated GPU with
// stand-ins for NVIDIA's libraries (tests/fake_libraries).

#include <map>

#include "bench/device_timing.h"
#include "bench/kernel_bench.h"
#include "bench/multiply_adds.h"
#include "bench/peers/device_peers.h"
#include "framework/run.h"
#include "framework/tensor.h"
#include "tests/cuda_device.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::bench;
using namespace flyball::testing;

namespace {

constexpr double kMostFlops = 1e6;  // of a case: the stand-ins are slow

}  // namespace

TEST_CASE("device peers: give the results of our kernels for every kind of operand") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  std::map<std::string, int> compared;
  for (const OpCase& op : op_cases()) {
    if (op.benchmark || !op.arguments || op.flops == 0 || op.flops > kMostFlops) continue;
    for (const DType real : {DType::f32, DType::bf16}) {
      if (!op.runs(real, Device::Kind::cuda)) continue;
      for (const auto offer : {offer_cublaslt, offer_cudnn}) {
        const Operands chosen_on(*stream, op, real, 1, 0), theirs(*stream, op, real, 1, 0);
        const DevicePeers peers = offer(*stream, op.arguments(chosen_on));
        if (peers.library.empty()) continue;
        if (!peers.absent.empty()) {
          CAPTURE(op.title());
          CHECK(peers.absent.find("stand-in") == std::string::npos);
          ++compared["without " + peers.library];
          continue;
        }
        for (const DevicePeer& peer : peers.offers) {
          const Operands want(*stream, op, real, 1, 0), got(*stream, op, real, 1, 0);
          op.prepare(want)(*stream);
          peer.enqueue(op.arguments(got));
          if (peer.deliver) peer.deliver(op.arguments(got));
          const double error = difference(op, want, got);
          CHECK_MESSAGE(error < (real == DType::bf16 ? 0x1p-6 : 2e-3),
                        op.title() << ": " << peer.implementation << " is off by " << error);
          ++compared[peer.implementation];
        }
      }
    }
  }
  for (const auto& [name, count] : compared) MESSAGE(name << ": " << count << " cases");
  CHECK(compared["cublaslt"] > 100);
  CHECK(compared["cudnn"] > 100);
  CHECK(compared["cudnn deterministic"] > 0);
}

TEST_CASE("device timing: a graph launches each of its operands, and takes time") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  std::vector<Tensor> tensors;
  for (int i = 0; i < 3; ++i) tensors.push_back(Tensor::zeros(*stream, {64}));
  const TimedGraph graph(
      *stream, [&](int i) { tensors[static_cast<size_t>(i)].fill(*stream, i + 1); }, 3);
  for (Tensor& tensor : tensors) tensor.fill(*stream, 0);
  CHECK(graph.seconds() > 0);
  for (int i = 0; i < 3; ++i) {
    CHECK(tensors[static_cast<size_t>(i)].to_host<float>(*stream) ==
          std::vector<float>(64, static_cast<float>(i + 1)));
  }
}

TEST_CASE("device timing: the fastest is one that is wanted and can be run") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  Tensor large = Tensor::zeros(*stream, {1 << 20}), small = Tensor::zeros(*stream, {1});
  const auto enqueue = [&](int i) {
    (i == 1 ? large : small).fill(*stream, 1);
    return i != 0;
  };
  CHECK(fastest_of(*stream, 3, enqueue) == 2);
  CHECK(fastest_of(*stream, 3, enqueue, [](int i) { return i < 2; }) == 1);
  CHECK(fastest_of(*stream, 1, enqueue) == -1);
}

TEST_CASE("device ceilings: every thread does its multiply-adds") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  constexpr int kBlocks = 2, kRounds = 5;
  const auto check = [&](MultiplyAddUnit unit, double sum, double flops) {
    Tensor sums = Tensor::zeros(*stream, {kBlocks * kMultiplyAddThreads});
    const double counted = multiply_add(
        unit,
        {.sums = static_cast<float*>(sums.mutable_raw()), .blocks = kBlocks, .rounds = kRounds},
        static_cast<cudaStream_t>(stream->handle()));
    CHECK(sums.to_host<float>(*stream) ==
          std::vector<float>(kBlocks * kMultiplyAddThreads, static_cast<float>(sum)));
    CHECK(counted == flops);
  };
  // Chains start at 0 .. 7, four accumulators each on tensor cores; a warp's tile is [16, 8].
  constexpr double kStart = 28, kThreads = kBlocks * kMultiplyAddThreads;
  check(MultiplyAddUnit::f32, kStart + 8 * kRounds, 2 * kThreads * 8 * kRounds);
  for (const auto& [unit, k] : {std::pair(MultiplyAddUnit::tf32, 8), {MultiplyAddUnit::bf16, 16}}) {
    check(unit, 4 * (kStart + 8 * kRounds * k), kThreads / 32 * 8 * kRounds * 2 * 16 * 8 * k);
  }
}

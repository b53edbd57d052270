// A BiLSTM trained on texts of several lengths on a CUDA device, real or simulated.

#include <cstring>
#include <set>

#include "framework/text_loader.h"
#include "framework/trainer.h"
#include "models/bilstm.h"
#include "models/task.h"
#include "tests/cuda_device.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

constexpr int64_t kVocabulary = 40, kSequences = 37;
constexpr TextLoaderOptions kOptions{.batch_size = 8, .seed = 2, .buckets = 3};

// Random tokens; lengths from 1 to 20.
const TextData& texts() {
  static const TextData data = [] {
    TextData made;
    made.name = "random";
    made.classes = 3;
    made.vocabulary = kVocabulary;
    made.offsets.push_back(0);
    for (uint64_t i = 0; i < kSequences; ++i) {
      const PhiloxWords words = philox_at(i, 0, 0, 7);
      for (uint32_t t = 0; t <= words.word[0] % 20; ++t) {
        made.tokens.push_back(static_cast<int32_t>(1 + philox_at(i, t, 1, 7).word[0] % 39));
      }
      made.offsets.push_back(static_cast<int64_t>(made.tokens.size()));
      made.labels.push_back(static_cast<int32_t>(words.word[1] % 3));
    }
    return made;
  }();
  return data;
}

struct Training {
  Training(const Stream& run_stream, bool capture)
      : loader(run_stream, texts(), first_indices(kSequences), kOptions),
        init(run_stream, 1),
        model(make_model<BiLstm>(init, BiLstmOptions{.vocabulary = kVocabulary,
                                                     .embedding = 6,
                                                     .hidden = 18,
                                                     .num_layers = 2,
                                                     .classes = 3,
                                                     .dropout = 0.3})),
        arena(run_stream, *model.module),
        rate(run_stream, ConstantRule{1e-2}),
        adam(run_stream, arena, rate),
        trainer(run_stream, model.forward, adam, rate, {.seed = 3, .capture = capture}),
        log(run_stream, rate) {}

  std::vector<StepRecord> steps(int64_t count) {
    for (int64_t i = 0; i < count; ++i) trainer.step(loader);
    return log.drain();
  }

  std::vector<float> weights(const Stream& run_stream) {
    std::vector<float> all;
    for (const auto& parameter : parameters_of(*model.module)) {
      const auto values = parameter.item->variable.value().to_host<float>(run_stream);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  TextLoader loader;
  Initializer init;
  Model model;
  ParameterArena arena;
  LearningRate rate;
  Adam adam;
  Trainer trainer;
  StepLog log;
};

}  // namespace

TEST_CASE("text loader: batches through the ring are the CPU's, in any order of seeks") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  TextLoader expected(stream(), texts(), first_indices(kSequences), kOptions);
  TextLoader loader(*cuda, texts(), first_indices(kSequences), kOptions);
  std::set<int64_t> times;
  for (const int64_t start : {0, 8, 2}) {
    expected.seek(start / 5, start % 5);
    loader.seek(start / 5, start % 5);
    for (int i = 0; i < 11; ++i) {
      const Batch want = expected.next(), got = loader.next();
      REQUIRE(got.x.shape() == want.x.shape());
      REQUIRE(got.count == want.count);
      REQUIRE(got.epoch == want.epoch);
      REQUIRE(got.index == want.index);
      for (const auto& [a, b] : {std::pair(got.x, want.x), std::pair(got.labels, want.labels),
                                 std::pair(got.lengths, want.lengths)}) {
        REQUIRE(a.to_host<int32_t>(*cuda) == b.to_host<int32_t>(stream()));
      }
      times.insert(want.x.shape()[0]);
    }
  }
  CHECK(times.size() == 3);
}

TEST_CASE(
    "cuda bilstm: captured steps on texts of several lengths have the bits of enqueued ones") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  Training enqueued(*cuda, false), captured(*cuda, true);
  const std::vector<StepRecord> a = enqueued.steps(30), b = captured.steps(30);
  REQUIRE(a.size() == 30);
  REQUIRE(b.size() == 30);
  CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(StepRecord)) == 0);
  CHECK(enqueued.weights(*cuda) == captured.weights(*cuda));
  // A graph a bucket, and one for the shorter batch at the end of an epoch.
  const StepGraphs& graphs = *captured.trainer.graphs();
  CHECK(graphs.captures() == static_cast<int64_t>(graphs.size()));
  CHECK(graphs.size() <= 4);
  CHECK(graphs.replays() == 30 - static_cast<int64_t>(graphs.size()));
  captured.arena.check_guards(*cuda);
}

TEST_CASE("cuda bilstm: 20 steps have the CPU's losses") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  const Stream cpu;
  Training on_cuda(*cuda, true), on_cpu(cpu, false);
  const std::vector<StepRecord> got = on_cuda.steps(20), want = on_cpu.steps(20);
  double worst = 0;
  for (size_t i = 0; i < 20; ++i) {
    worst = std::max(worst, std::abs(got[i].loss - want[i].loss) / want[i].loss);
  }
  MESSAGE("losses within ", worst);
  CHECK(worst < 1e-4);
}

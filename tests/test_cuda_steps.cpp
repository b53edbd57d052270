// The captured training step: replays against the same steps enqueued one by one, on a CUDA device,
// real or simulated.

#include <cstdlib>
#include <cstring>
#include <limits>

#include "datasets/synthetic.h"
#include "framework/allocator.h"
#include "framework/layers.h"
#include "framework/sample_loader.h"
#include "framework/trainer.h"
#include "models/task.h"
#include "tests/cuda_device.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

// Every operation of the CNN on 8 x 8 images: convolution, pooling, dropout, two linear layers.
using SmallNet = Sequential<Conv2d, MaxPool2d, Dropout, Flatten, Linear, Linear>;

Model small_net(Initializer& init) {
  auto network = std::make_unique<SmallNet>(
      Conv2d(init, 1, 4, 3, {.relu = true}), MaxPool2d(), Dropout(init, 0.25), Flatten(),
      Linear(init, 36, 16, {.relu = true}), Linear(init, 16, 10));
  ForwardFunction forward = [raw = network.get()](const Context& context, const Batch& batch) {
    return raw->forward(context, Variable(batch.x));
  };
  return {std::move(network), std::move(forward)};
}

const ImageDataset& images() {
  static const ImageDataset dataset(synthetic_images(70, 8, 8, 1, 10, 3));
  return dataset;
}

// Images whose pixels are not numbers in some epochs; made on the host.
class SometimesNan : public Dataset {
 public:
  const std::string& name() const override { return images().name(); }
  int64_t size() const override { return images().size(); }
  int64_t classes() const override { return images().classes(); }
  Shape sample_shape() const override { return images().sample_shape(); }
  void gather(const Stream& stream, const int64_t* indices, int64_t n,
              const Augmentation& augmentation, uint64_t seed, const uint32_t* epoch, float* x,
              int32_t* labels) const override {
    images().gather(stream, indices, n, augmentation, seed, epoch, x, labels);
    if (*epoch == 13) std::fill_n(x, 64 * n, std::numeric_limits<float>::quiet_NaN());
  }
};

// A training run with all that it needs, on one stream.
struct Training {
  Training(const Stream& run_stream, const Dataset& dataset, bool capture, Residence residence,
           Precision precision = Precision::fp32)
      : loader(run_stream, dataset, first_indices(dataset.size()),
               {.batch_size = 16,
                .seed = 2,
                .augmentation = {.flip_probability = 0.5, .rotation_degrees = 10},
                .residence = residence}),
        init(run_stream, 1),
        model(small_net(init)),
        arena(run_stream, *model.module),
        rate(run_stream, make_adaptive(), {.steps_per_epoch = 5, .total_steps = 200}),
        adam(run_stream, arena, rate),
        trainer(run_stream, model.forward, adam, rate,
                {.seed = 4, .precision = precision, .capture = capture}),
        log(run_stream, rate) {}

  void steps(int64_t count) {
    for (int64_t i = 0; i < count; ++i) trainer.step(loader);
  }

  SampleLoader loader;
  Initializer init;
  Model model;
  ParameterArena arena;
  LearningRate rate;
  Adam adam;
  Trainer trainer;
  StepLog log;
};

struct RunResult {
  std::vector<StepRecord> records;
  std::vector<float> weights;
};

bool same_bits(const RunResult& a, const RunResult& b) {
  return a.records.size() == b.records.size() && a.weights.size() == b.weights.size() &&
         std::memcmp(a.records.data(), b.records.data(), a.records.size() * sizeof(StepRecord)) ==
             0 &&
         std::memcmp(a.weights.data(), b.weights.data(), a.weights.size() * sizeof(float)) == 0;
}

RunResult run_steps(const Stream& run_stream, const Dataset& dataset, int64_t steps, bool capture,
                    Residence residence, Precision precision = Precision::fp32) {
  Training training(run_stream, dataset, capture, residence, precision);
  training.steps(steps);
  training.arena.check_guards(run_stream);
  CHECK((training.trainer.graphs() != nullptr) == capture);
  if (capture) {
    // Full batches and the last one of six; all but the first of each shape are replays.
    CHECK(training.trainer.graphs()->captures() == 2);
    CHECK(training.trainer.graphs()->replays() == steps - 2);
  }
  RunResult result{.records = training.log.drain(), .weights = {}};
  for (const auto& parameter : parameters_of(*training.model.module)) {
    const auto values = parameter.item->variable.value().to_host<float>(run_stream);
    result.weights.insert(result.weights.end(), values.begin(), values.end());
  }
  return result;
}

int64_t count_of(const std::vector<StepRecord>& records, Action action, size_t from) {
  return std::count_if(records.begin() + static_cast<std::ptrdiff_t>(from), records.end(),
                       [&](const StepRecord& record) { return record.action == action; });
}

}  // namespace

TEST_CASE("captured step: 200 replays have the bits of 200 steps enqueued one by one") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  for (const Residence residence : {Residence::device, Residence::host}) {
    CAPTURE(static_cast<int>(residence));
    const RunResult eager = run_steps(*cuda, images(), 200, false, residence);
    const RunResult replayed = run_steps(*cuda, images(), 200, true, residence);
    REQUIRE(eager.records.size() == 200);
    CHECK(eager.records.back().loss < 0.8 * eager.records.front().loss);
    CHECK(eager.records.back().learning_rate != eager.records[100].learning_rate);
    CHECK(same_bits(eager, replayed));
  }
}

TEST_CASE("captured step: replays have the same bits in tf32 and bf16, too") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    CAPTURE(static_cast<int>(precision));
    const RunResult eager = run_steps(*cuda, images(), 30, false, Residence::device, precision);
    const RunResult replayed = run_steps(*cuda, images(), 30, true, Residence::device, precision);
    CHECK(same_bits(eager, replayed));
    CHECK_FALSE(same_bits(eager, run_steps(*cuda, images(), 30, true, Residence::device)));
  }
}

TEST_CASE("captured step: a roll-back and a snapshot happen inside replays") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  const SometimesNan dataset;
  const RunResult eager = run_steps(*cuda, dataset, 200, false, Residence::host);
  const RunResult replayed = run_steps(*cuda, dataset, 200, true, Residence::host);
  REQUIRE(replayed.records.size() == 200);
  CHECK(same_bits(eager, replayed));
  // The last shape is captured in step 9: everything after it is a replay.
  CHECK(count_of(replayed.records, Action::kSnapshot, 10) >= 1);
  CHECK(count_of(replayed.records, Action::kRollback, 10) >= 1);
  CHECK(std::isfinite(replayed.records.back().loss));
}

TEST_CASE("captured step: the host never waits between two reads of the log") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  for (const Residence residence : {Residence::device, Residence::host}) {
    CAPTURE(static_cast<int>(residence));
    Training training(*cuda, images(), true, residence);
    training.steps(12);
    training.log.drain();
    const int64_t waits = cuda->host_synchronizations();
    const auto runtime_waits = runtime_synchronizations();
    const AllocatorCounters before = allocator(cuda->device()).counters();
    training.steps(50);
    CHECK(cuda->host_synchronizations() == waits);
    CHECK(runtime_synchronizations() == runtime_waits);
    CHECK(allocator(cuda->device()).counters().system_allocations == before.system_allocations);
    CHECK(allocator(cuda->device()).counters().live_bytes == before.live_bytes);
    CHECK(training.log.drain().size() == 50);
  }
}

TEST_CASE("captured step: one graph a shape, at most 32, and nothing is left behind") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  const AllocatorCounters before = allocator(cuda->device()).counters();
  {
    Training training(*cuda, images(), true, Residence::device);
    std::vector<std::unique_ptr<SampleLoader>> loaders;
    for (int64_t batch = 20; batch < 56; ++batch) {
      loaders.push_back(std::make_unique<SampleLoader>(*cuda, images(), first_indices(batch),
                                                       SampleLoaderOptions{.batch_size = batch}));
    }
    for (int round = 0; round < 3; ++round) {
      for (const auto& loader : loaders) training.trainer.step(*loader);
    }
    // More shapes than graphs in turn: none is there any more when its turn comes.
    CHECK(training.trainer.graphs()->size() == StepGraphs::kLimit);
    CHECK(training.trainer.graphs()->captures() == 0);
    for (int round = 0; round < 3; ++round) {
      for (size_t i = 0; i < 3; ++i) training.trainer.step(*loaders[i]);
    }
    CHECK(training.trainer.graphs()->captures() == 3);
    CHECK(training.trainer.graphs()->size() == StepGraphs::kLimit);
    CHECK(training.log.drain().size() == 117);
  }
  allocator(cuda->device()).release_cached();
  const AllocatorCounters after = allocator(cuda->device()).counters();
  CHECK(after.live_bytes == before.live_bytes);
  CHECK(after.cached_bytes == 0);
}

TEST_CASE("captured step: work that would be frozen into the graph is refused") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  Training training(*cuda, images(), true, Residence::device);
  const ForwardFunction forward = training.model.forward;
  const std::vector<float> zeros(10, 0.0F);
  const auto uploads = [&](const Context& context, const Batch& batch) {
    Tensor::from_host(context.stream, {10}, std::span<const float>(zeros));
    return forward(context, batch);
  };
  const auto reads = [&](const Context& context, const Batch& batch) {
    batch.x.to_host<float>(context.stream);
    return forward(context, batch);
  };
  for (const ForwardFunction& wrong : {ForwardFunction(uploads), ForwardFunction(reads)}) {
    Trainer trainer(*cuda, wrong, training.adam, training.rate);
    trainer.step(training.loader);
    const std::string error = error_of([&] { trainer.step(training.loader); });
    CHECK(contains(error, "captured step: a copy"));
    CHECK(contains(error, "frozen"));
  }
  training.loader.seek(0, 0);
  training.steps(3);  // the stream is usable afterwards
  CHECK(std::isfinite(training.trainer.last_result().loss.item(*cuda)));
}

TEST_CASE("data loader: ring and resident batches are the CPU's, in any order of seeks") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  const SampleLoaderOptions options{.batch_size = 16, .seed = 2};
  SampleLoader expected(stream(), images(), first_indices(70), options);
  for (const Residence residence : {Residence::device, Residence::host}) {
    SampleLoaderOptions there = options;
    there.residence = residence;
    SampleLoader loader(*cuda, images(), first_indices(70), there);
    CHECK(loader.resident() == (residence == Residence::device));
    for (const int64_t start : {0, 7, 3}) {
      expected.seek(start / 5, start % 5);
      loader.seek(start / 5, start % 5);
      for (int i = 0; i < 12; ++i) {
        const Batch want = expected.next(), got = loader.next();
        REQUIRE(got.count == want.count);
        REQUIRE(got.epoch == want.epoch);
        REQUIRE(got.index == want.index);
        REQUIRE(got.x.to_host<float>(*cuda) == want.x.to_host<float>(stream()));
        REQUIRE(got.labels.to_host<int32_t>(*cuda) == want.labels.to_host<int32_t>(stream()));
      }
    }
  }
}

TEST_CASE("step log: records come one read late where their copy is not done at once") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  Training training(*cuda, images(), true, Residence::device);
  std::vector<StepRecord> all;
  for (int64_t step = 10; step <= 60; step += 10) {
    training.steps(10);
    const std::vector<StepRecord> records = training.log.drain_late(step);
    all.insert(all.end(), records.begin(), records.end());
    // Never older than one read, and just that where the device says that it is not done.
    CHECK(static_cast<int64_t>(all.size()) >= step - 10);
    if (std::getenv("SIMULATED_GPU_NOT_READY") != nullptr) {
      CHECK(static_cast<int64_t>(all.size()) == step - 10);
    }
  }
  const std::vector<StepRecord> rest = training.log.drain();
  all.insert(all.end(), rest.begin(), rest.end());
  REQUIRE(all.size() == 60);
  for (size_t i = 0; i < all.size(); ++i) CHECK(all[i].step == static_cast<int64_t>(i));
  CHECK(training.log.lost() == 0);
}

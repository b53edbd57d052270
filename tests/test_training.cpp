// Whole runs: the same bits again, whatever the thread count; learning on synthetic images; nothing
// left on the host's side.

#include <cstring>

#include "datasets/synthetic.h"
#include "framework/allocator.h"
#include "framework/sample_loader.h"
#include "framework/trainer.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/parallel.h"
#include "models/cnn.h"
#include "models/mlp.h"
#include "models/task.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

struct RunResult {
  std::vector<double> weights;
  std::vector<StepRecord> records;
  Evaluation validation;
};

struct Collect : TrainingObserver {
  std::vector<StepRecord> records;
  Evaluation validation;
  void on_steps(const std::vector<StepRecord>& more, int64_t) override {
    records.insert(records.end(), more.begin(), more.end());
  }
  void on_evaluation(const Evaluation& evaluation, int64_t, double) override {
    validation = evaluation;
  }
};

template <class Network, class... Arguments>
RunResult train(const ImageDataset& dataset, int64_t epochs, uint64_t seed, const Rule& rule,
                Arguments&&... arguments) {
  const Stream run_stream;
  const Split split = split_by_seed(dataset.size(), 0.2, seed);
  SampleLoader training(run_stream, dataset, split.training, {.batch_size = 32, .seed = seed});
  SampleLoader validation(run_stream, dataset, split.validation,
                          {.batch_size = 32, .shuffle = false});
  Initializer init(run_stream, seed);
  const Model model = make_model<Network>(init, std::forward<Arguments>(arguments)...);
  ParameterArena arena(run_stream, *model.module);
  const int64_t steps = training.batches_per_epoch();
  LearningRate rate(run_stream, rule, {.steps_per_epoch = steps, .total_steps = epochs * steps});
  Adam adam(run_stream, arena, rate);
  Trainer trainer(run_stream, model.forward, adam, rate, {.seed = seed});
  Collect collect;
  trainer.fit(training, &validation, epochs, collect);
  arena.check_guards(run_stream);
  return {parameter_values(*model.module), collect.records, collect.validation};
}

bool same_bits(const RunResult& a, const RunResult& b) {
  return a.weights.size() == b.weights.size() && a.records.size() == b.records.size() &&
         std::memcmp(a.weights.data(), b.weights.data(), a.weights.size() * sizeof(double)) == 0 &&
         std::memcmp(a.records.data(), b.records.data(), a.records.size() * sizeof(StepRecord)) ==
             0;
}

const ImageDataset& small_images() {
  static const ImageDataset dataset(synthetic_images(400, 28, 28, 1, 10, 3));
  return dataset;
}

}  // namespace

TEST_CASE("training: the same seed gives the same bits, another seed does not") {
  const RunResult first = train<Cnn>(small_images(), 1, 1, make_adaptive());
  const RunResult second = train<Cnn>(small_images(), 1, 1, make_adaptive());
  const RunResult other = train<Cnn>(small_images(), 1, 2, make_adaptive());
  CHECK(same_bits(first, second));
  CHECK_FALSE(same_bits(first, other));
}

TEST_CASE("training: one and two threads give the same bits, with either backend") {
  const cpu::Backend chosen = cpu::backend();
  for (const cpu::Backend backend : {cpu::Backend::kEigen, cpu::Backend::kOneDnn}) {
    if (backend == cpu::Backend::kOneDnn && !cpu::has_onednn()) continue;
    cpu::set_backend(backend);
    cpu::set_threads(1);
    const RunResult one = train<Cnn>(small_images(), 1, 1, make_adaptive());
    cpu::set_threads(2);
    const RunResult two = train<Cnn>(small_images(), 1, 1, make_adaptive());
    cpu::set_threads(1);
    CHECK(same_bits(one, two));
  }
  cpu::set_backend(chosen);
}

TEST_CASE("training: an MLP learns synthetic images with every rule") {
  const ImageDataset dataset(synthetic_images(1500, 28, 28, 1, 10, 4));
  for (const Rule& rule :
       {Rule(ConstantRule{1e-3}), Rule(LinearRule{3e-3}), Rule(make_adaptive())}) {
    const RunResult run = train<Mlp>(dataset, 5, 1, rule, Mlp::simple());
    CHECK(run.validation.accuracy > 0.8);
    CHECK(run.records.back().loss < 0.5 * run.records.front().loss);
  }
}

TEST_CASE("training: steps between two drains never wait, and need no new memory") {
  const Stream run_stream;
  SampleLoader loader(run_stream, small_images(), first_indices(320),
                      {.batch_size = 32, .seed = 1});
  Initializer init(run_stream, 1);
  const Model model = make_model<Cnn>(init);
  ParameterArena arena(run_stream, *model.module);
  LearningRate rate(run_stream, make_adaptive(), {.steps_per_epoch = 10, .total_steps = 40});
  Adam adam(run_stream, arena, rate);
  Trainer trainer(run_stream, model.forward, adam, rate);
  trainer.step(loader.next());
  trainer.step(loader.next());
  const int64_t waits = run_stream.host_synchronizations();
  const AllocatorCounters before = allocator({}).counters();
  for (int i = 0; i < 12; ++i) trainer.step(loader.next());
  CHECK(run_stream.host_synchronizations() == waits);
  CHECK(allocator({}).counters().live_bytes == before.live_bytes);
  if (!allocator_is_passthrough()) {
    CHECK(allocator({}).counters().system_allocations == before.system_allocations);
  }
}

TEST_CASE("training: a last partial batch counts as its size") {
  // 2 batches of 32 and one of 6: the validation mean must weigh samples, not batches.
  const Stream run_stream;
  SampleLoader loader(run_stream, small_images(), first_indices(70),
                      {.batch_size = 32, .shuffle = false});
  SampleLoader whole(run_stream, small_images(), first_indices(70),
                     {.batch_size = 70, .shuffle = false});
  Initializer init(run_stream, 1);
  const Model model = make_model<Mlp>(init, Mlp::simple());
  const Evaluation parts = evaluate(run_stream, model.forward, loader, "validation");
  const Evaluation at_once = evaluate(run_stream, model.forward, whole, "validation");
  CHECK(parts.steps == 3);
  CHECK(parts.loss == doctest::Approx(at_once.loss).epsilon(1e-6));
  CHECK(parts.accuracy == at_once.accuracy);
}

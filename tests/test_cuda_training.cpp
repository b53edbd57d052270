// The same steps on the CPU and on a CUDA device, real or simulated.

#include <cstdlib>

#include "datasets/synthetic.h"
#include "framework/sample_loader.h"
#include "framework/trainer.h"
#include "models/cnn.h"
#include "models/mlp.h"
#include "models/task.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

template <class Network, class... Arguments>
std::vector<StepRecord> train(Device device, int64_t steps, int64_t batch, const Rule& rule,
                              Arguments&&... arguments) {
  const Stream run_stream(device);
  const ImageDataset dataset(synthetic_images(160, 28, 28, 1, 10, 3));
  SampleLoader training(run_stream, dataset, first_indices(dataset.size()),
                        {.batch_size = batch, .seed = 1});
  Initializer init(run_stream, 1);
  const Model model = make_model<Network>(init, std::forward<Arguments>(arguments)...);
  ParameterArena arena(run_stream, *model.module);
  LearningRate rate(run_stream, rule,
                    {.steps_per_epoch = training.batches_per_epoch(), .total_steps = steps});
  Adam adam(run_stream, arena, rate);
  Trainer trainer(run_stream, model.forward, adam, rate, {.seed = 1});
  StepLog log(run_stream, rate);
  for (int64_t step = 0; step < steps; ++step) trainer.step(training.next());
  arena.check_guards(run_stream);
  return log.drain();
}

template <class Network, class... Arguments>
void check_agreement(int64_t steps, int64_t batch, Arguments... arguments) {
  Device cuda;
  try {
    cuda = parse_device("cuda");
  } catch (const Error& error) {
    MESSAGE("skipped: no CUDA device: " << error.what());
    return;
  }
  const auto expected = train<Network>({}, steps, batch, ConstantRule{1e-3}, arguments...);
  const auto got = train<Network>(cuda, steps, batch, ConstantRule{1e-3}, arguments...);
  REQUIRE(static_cast<int64_t>(got.size()) == steps);
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("step " << i);
    CHECK(std::abs(got[i].loss - expected[i].loss) < 1e-4 * expected[i].loss);
    CHECK(got[i].learning_rate == expected[i].learning_rate);
  }
}

}  // namespace

TEST_CASE("cuda training: 30 steps of the MLP have the CPU's losses") {
  check_agreement<Mlp>(30, 32, Mlp::complex());
}

TEST_CASE("cuda training: 30 steps of the CNN have the CPU's losses") {
  check_agreement<Cnn>(30, 2);
}

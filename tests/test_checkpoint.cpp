#include <cstring>

#include "datasets/synthetic.h"
#include "framework/checkpoint.h"
#include "framework/safetensors.h"
#include "framework/sample_loader.h"
#include "framework/trainer.h"
#include "models/mlp.h"
#include "models/task.h"
#include "schedulers/schedules.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

namespace fs = std::filesystem;

const ImageDataset& images() {
  static const ImageDataset dataset(synthetic_images(70, 28, 28, 1, 10, 3));
  return dataset;
}

struct Training {
  explicit Training(uint64_t seed, const std::string& schedule = "adaptive",
                    const std::string& optimizer_name = "adam", bool complex = false)
      : loader(stream(), images(), first_indices(70),
               {.batch_size = 16, .seed = 2, .augmentation = {.flip_probability = 0.5}}),
        init(stream(), seed),
        model(make_model<Mlp>(init, complex ? Mlp::complex() : Mlp::simple())),
        arena(stream(), *model.module),
        rate(stream(), make_rule(schedule, 1e-3), {.steps_per_epoch = 5, .total_steps = 60}) {
    if (optimizer_name == "adam") {
      optimizer = std::make_unique<Adam>(stream(), arena, rate);
    } else {
      optimizer = std::make_unique<Sgd>(stream(), arena, rate);
    }
    trainer = std::make_unique<Trainer>(stream(), model.forward, *optimizer, rate,
                                        TrainerOptions{.seed = 4});
  }

  TrainingState state() { return {*model.module, *optimizer, rate}; }

  void steps(int64_t count) {
    for (int64_t i = 0; i < count; ++i) trainer->step(loader);
  }

  // Everything that the next step depends on.
  std::string bits() {
    std::string all;
    const auto add = [&](const void* data, size_t size) {
      all.append(static_cast<const char*>(data), size);
    };
    for (const auto& [name, tensor] : tensors_of(*model.module)) {
      const auto values = tensor.to_host<float>(stream());
      add(values.data(), values.size() * sizeof(float));
    }
    for (const auto& [name, tensor] : optimizer->state()) {
      const Tensor plain = tensor.clone(stream());
      std::string bytes(static_cast<size_t>(plain.bytes()), '\0');
      copy_to_host(stream(), bytes.data(), plain.raw(), plain.bytes());
      all += bytes;
    }
    const LearningRateState learning = rate.read_state(stream());
    const StepSignals signals = rate.read_signals(stream());
    add(&learning, sizeof learning);
    add(&signals, sizeof signals);
    return all;
  }

  SampleLoader loader;
  Initializer init;
  Model model;
  ParameterArena arena;
  LearningRate rate;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Trainer> trainer;
};

}  // namespace

TEST_CASE("checkpoint: a run that goes on from one has the bits of a run that never stopped") {
  for (const auto& [schedule, optimizer] :
       {std::pair("adaptive", "adam"), {"linear", "adam"}, {"linear", "sgd"}}) {
    CAPTURE(schedule);
    CAPTURE(optimizer);
    for (const int64_t stop : {0, 1, 13, 40}) {
      const TemporaryFolder folder;
      const fs::path path = folder.path() / "step.safetensors";
      Training whole(1, schedule, optimizer);
      whole.steps(stop);
      save_checkpoint(path, whole.state(), {{"step", str(stop)}}, stream());
      whole.rate.set_validation(stream(), 1.5, 0.5);
      whole.steps(12);

      Training resumed(9, schedule, optimizer);  // other weights, and some steps of its own
      resumed.steps(3);
      CHECK(load_checkpoint(path, resumed.state(), stream()) == Metadata{{"step", str(stop)}});
      resumed.loader.seek(stop / 5, stop % 5);
      resumed.rate.set_validation(stream(), 1.5, 0.5);
      resumed.steps(12);
      CHECK(whole.bits() == resumed.bits());
    }
  }
}

TEST_CASE("checkpoint: any damage is noticed, and nothing is loaded then") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "step.safetensors";
  Training training(1);
  training.steps(8);
  save_checkpoint(path, training.state(), {{"step", "8"}}, stream());
  const std::string good = read_whole_file(path);
  Training other(2);
  const std::string before = other.bits();
  const auto refused = [&](const std::string& bytes) {
    write_file(path, bytes);
    const std::string error = error_of([&] { load_checkpoint(path, other.state(), stream()); });
    CHECK(contains(error, path.string() + ": "));
    CHECK(other.bits() == before);
    return error;
  };
  // A bit anywhere: in the header, in the first and last tensors, and between.
  for (size_t place = 9; place < good.size(); place += good.size() / 41) {
    std::string bad = good;
    bad[place] ^= 0x10;
    refused(bad);
  }
  std::string last = good;
  last.back() ^= 1;
  CHECK(contains(refused(last), "the checksum does not match"));
  std::string step = good;
  step[step.find("\"step\":\"8\"") + 8] = '9';
  CHECK(contains(refused(step), "the checksum does not match"));
  for (const size_t size : {size_t{0}, size_t{7}, size_t{500}, good.size() / 2, good.size() - 1}) {
    refused(good.substr(0, size));
  }
  write_file(path, good);
  load_checkpoint(path, other.state(), stream());
  CHECK(other.bits() == training.bits());
}

TEST_CASE("checkpoint: of another model, optimizer or schedule it is refused") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "step.safetensors";
  Training training(1);
  save_checkpoint(path, training.state(), {}, stream());
  const auto refused = [&](Training&& other) {
    return error_of([&] { load_checkpoint(path, other.state(), stream()); });
  };
  CHECK(contains(refused(Training(1, "adaptive", "adam", true)), "tensor 'fc1.weight' is f32"));
  CHECK(contains(refused(Training(1, "linear")), "10 tensors, expected 9"));
  CHECK(contains(refused(Training(1, "linear", "sgd")), "'state.optimizer.momentum' is missing"));
  save_checkpoint(path, Training(1, "linear").state(), {}, stream());
  CHECK(contains(refused(Training(1, "constant")), "holds the state of another schedule"));
  save_model(path, *training.model.module, stream());
  CHECK(contains(refused(Training(1)), "has no checksum"));
}

TEST_CASE("checkpoint: its weights load as a model's") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "step.safetensors";
  Training training(1), other(2);
  training.steps(3);
  save_checkpoint(path, training.state(), {}, stream());
  load_model(path, *other.model.module, stream());
  for (size_t i = 0; i < parameters_of(*other.model.module).size(); ++i) {
    CHECK(values_of(parameters_of(*other.model.module)[i].item->variable.value()) ==
          values_of(parameters_of(*training.model.module)[i].item->variable.value()));
  }
}

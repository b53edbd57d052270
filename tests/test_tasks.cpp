// Saved models: the configuration that says what they are, scores, and the folder of a run.

#include <png.h>

#include "datasets/mnist.h"
#include "framework/safetensors.h"
#include "models/recorder.h"
#include "models/run_config.h"
#include "models/saved_model.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

namespace fs = std::filesystem;

RunOptions small_bilstm() {
  RunOptions options;
  options.model = "imdb_bilstm";
  options.dataset = "synthetic";
  options.text = {.vocabulary = 60,
                  .min_count = 3,
                  .max_length = 17,
                  .keep = "tail",
                  .embedding = 6,
                  .hidden = 5,
                  .layers = 2,
                  .pool = "max",
                  .dropout = 0.25};
  options.seed = 7;
  options.batch_size = 48;
  return options;
}

// A run folder of a network as initialised.
void save_untrained(const fs::path& folder, const RunOptions& options) {
  const std::unique_ptr<Task> task = make_task(options.model);
  task->load(options, Part::training);
  Initializer init(stream(), options.seed);
  const Model model = task->make_model(options, init);
  write_file(folder / "config.json", text_of(config_of(options)));
  task->save(folder);
  save_model(folder / "model.safetensors", *model.module, stream());
}

}  // namespace

TEST_CASE("tasks: a configuration is read as it was written") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "config.json";
  const RunOptions wanted = small_bilstm();
  write_file(path, text_of(config_of(wanted)));
  const RunOptions read = read_config(path);
  CHECK(config_of(read) == config_of(wanted));
  CHECK(read.data.empty());

  RunOptions resnet;
  resnet.model = "cifar10_resnet18";
  resnet.width = 12;
  resnet.zero_last_gamma = true;
  write_file(path, text_of(config_of(resnet)));
  CHECK(config_of(read_config(path)) == config_of(resnet));

  for (const char* text : {"", "{", "[]", R"({"model": 3})", R"({"model": "mnist_cnn"})",
                           R"({"model": "imdb_bilstm", "seed": 1, "batch_size": 1, "text": {}})"}) {
    write_file(path, text);
    CHECK(contains(error_of([&] { read_config(path); }), path.string() + ": is not the config"));
  }
  CHECK(contains(error_of([&] { read_config(folder.path() / "none.json"); }), "cannot open"));
}

TEST_CASE("tasks: an unknown model names those there are") {
  CHECK(error_of([] { make_task("resnet50"); }) ==
        "model 'resnet50' is unknown, expected one of: mnist_mlp, mnist_cnn, cifar10_resnet18, "
        "imdb_bilstm");
}

TEST_CASE("tasks: a saved text model is the one that was saved, vocabulary included") {
  const TemporaryFolder folder;
  const RunOptions options = small_bilstm();
  save_untrained(folder.path(), options);
  const std::unique_ptr<Task> task = make_task("imdb_bilstm");
  task->load(options, Part::training);
  Initializer init(stream(), options.seed);
  const SavedModel fresh{options, nullptr, task->make_model(options, init)};
  const SavedModel saved = open_model(folder.path(), stream());
  const auto texts = std::vector<std::string>{"The plot was moving.", "", "Dull! \xff\xfe dull."};
  const auto logits = [&](const Task& with, const Model& model) {
    const NoGradient no_gradient;
    const auto set = with.inputs(options, texts);
    const auto loader = set->loader(stream(), {0, 1, 2}, options, Use::evaluation);
    return values_of(model.forward({.stream = stream()}, loader->next()).value());
  };
  CHECK(logits(*task, fresh.model) == logits(*saved.task, saved.model));

  // Weights elsewhere in the folder go with the same configuration.
  fs::create_directories(folder.path() / "checkpoints");
  for (const char* name : {"best.safetensors", "checkpoints/step-3.safetensors"}) {
    fs::copy_file(folder.path() / "model.safetensors", folder.path() / name);
    CHECK(logits(*saved.task, open_model(folder.path() / name, stream()).model) ==
          logits(*saved.task, saved.model));
  }
  fs::remove(folder.path() / "vocabulary.txt");
  CHECK(contains(error_of([&] { open_model(folder.path(), stream()); }), "vocabulary.txt"));
  CHECK(contains(error_of([&] { open_model(folder.path() / "none", stream()); }),
                 "none does not exist"));
}

TEST_CASE("tasks: image files come as a set's own images do") {
  const TemporaryFolder folder;
  const std::unique_ptr<Task> task = make_task("mnist_mlp");
  const ImageData digits = load_mnist(mnist_sample_folder(), MnistSplit::test);
  std::vector<std::string> paths;
  for (int64_t i = 0; i < 3; ++i) {
    paths.push_back(folder.path() / str(i, ".png"));
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = image.height = 28;
    image.format = PNG_FORMAT_GRAY;
    REQUIRE(png_image_write_to_file(&image, paths.back().c_str(), 0, digits.pixels.data() + i * 784,
                                    0, nullptr) != 0);
  }
  RunOptions options;
  const auto x_of = [&](const LabelledSet& set) {
    return values_of(set.loader(stream(), {0, 1, 2}, options, Use::evaluation)->next().x);
  };
  CHECK(x_of(*task->inputs(options, paths)) == x_of(*task->load(options, Part::test)));
  CHECK(contains(error_of([&] { task->inputs(options, {"none.png"}); }), "none.png"));
}

TEST_CASE("tasks: a score's confusion matrix counts every sample in its label's row") {
  const TemporaryFolder folder;
  RunOptions options;
  options.model = "mnist_mlp";
  options.variant = "simple";
  save_untrained(folder.path(), options);
  SavedModel saved = open_model(folder.path(), stream());
  const auto set = saved.task->load(options, Part::test);
  // Answers class 3, to everything but the first image of each batch, which gets 8.
  saved.model.forward = [](const Context& context, const Batch& batch) {
    std::vector<float> logits(static_cast<size_t>(batch.count * 10));
    for (int64_t i = 0; i < batch.count; ++i)
      logits[static_cast<size_t>(i * 10 + (i == 0 ? 8 : 3))] = 1;
    return Variable(
        Tensor::from_host(context.stream, {batch.count, 10}, std::span<const float>(logits)));
  };
  const auto loader = set->loader(stream(), first_indices(100), options, Use::evaluation);
  const Score result = score(stream(), saved, *loader, "test", Precision::fp32);
  loader->seek(0, 0);
  std::vector<std::vector<int64_t>> wanted(10, std::vector<int64_t>(10, 0));
  for (int64_t b = 0; b < loader->batches_per_epoch(); ++b) {
    const Batch batch = loader->next();
    const std::vector<int32_t> labels = batch.labels.to_host<int32_t>(stream());
    for (size_t i = 0; i < labels.size(); ++i)
      ++wanted[static_cast<size_t>(labels[i])][i == 0 ? 8 : 3];
  }
  CHECK(result.confusion == wanted);
  int64_t right = 0;
  for (size_t i = 0; i < 10; ++i) right += wanted[i][i];
  CHECK(result.evaluation.accuracy == doctest::Approx(static_cast<double>(right) / 100));
}

TEST_CASE("recorder: the best weights are those of the best validation") {
  const TemporaryFolder folder;
  RunFolder run(folder.path() / "run", false);
  Progress progress(1, 10, 10, /*quiet=*/true);
  std::vector<std::string> saved;
  std::vector<int64_t> checkpoints;
  Recorder recorder(
      run, progress, [&](const fs::path& path) { saved.push_back(path.filename()); },
      [&](int64_t step) { checkpoints.push_back(step); });
  const auto validate = [&](double loss, double accuracy, int64_t step) {
    recorder.on_evaluation({.split = "validation",
                            .samples = 10,
                            .steps = 1,
                            .loss = loss,
                            .accuracy = accuracy,
                            .seconds = 1},
                           step, 1);
  };
  validate(1.0, 0.5, 1);
  validate(1.0, 0.4, 2);  // worse
  validate(1.0, 0.5, 3);  // equal
  validate(0.9, 0.5, 4);  // equally accurate at less loss
  validate(2.0, 0.6, 5);
  recorder.on_save(6);
  CHECK(saved == std::vector<std::string>(3, "best.safetensors"));
  CHECK(checkpoints == std::vector<int64_t>{6});
  CHECK(recorder.best_step == 5);
  CHECK(recorder.best.accuracy == 0.6);
  CHECK(recorder.validation.accuracy == 0.6);
}

#include "datasets/cifar10.h"
#include "models/image_task.h"
#include "models/resnet.h"
#include "models/tasks.h"

namespace flyball {

std::unique_ptr<Task> cifar10_resnet18() {
  return std::make_unique<ImageTask>(ImageTask::Parts{
      .binary = {.model = "cifar10_resnet18",
                 .what = "Trains ResNet-18 on CIFAR-10 (11,173,962 parameters).",
                 .variants = {},
                 .default_epochs = 10,
                 .default_width = 64,
                 .presets = {{"narrow",
                              "a sixteenth of the weights, shifted and mirrored images",
                              {"--width", "16", "--augment", "crop-flip"}},
                             {"quick",
                              "one epoch of a narrow network on 500 images",
                              {"--width", "16", "--epochs", "1", "--limit-train", "500"}}}},
      .classes = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                  "truck"},
      .load =
          [](const std::filesystem::path& folder, Part part) {
            return load_cifar10(folder,
                                part == Part::test ? Cifar10Split::test : Cifar10Split::train);
          },
      .sample_folder = cifar10_sample_folder,
      .layout = cifar10_layout(),
      .make_model =
          [](const RunOptions& options, Initializer& init) {
            return make_model<ResNet18>(
                init,
                ResNetOptions{.width = options.width, .zero_last_gamma = options.zero_last_gamma});
          }});
}

}  // namespace flyball

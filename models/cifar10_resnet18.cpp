#include "datasets/cifar10.h"
#include "models/resnet.h"
#include "models/training_run.h"

int main(int argc, char** argv) {
  using namespace flyball;
  const TrainingProgram program{
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
      .load_data =
          [](const RunOptions& options, bool test) {
            return load_cifar10(options.data.empty() ? cifar10_sample_folder()
                                                     : std::filesystem::path(options.data),
                                test ? Cifar10Split::test : Cifar10Split::train);
          },
      .make_model =
          [](const RunOptions& options, Initializer& init) {
            return make_model<ResNet18>(
                init,
                ResNetOptions{.width = options.width, .zero_last_gamma = options.zero_last_gamma});
          }};
  return run_program(program, argc, argv);
}

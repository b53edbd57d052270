#include "models/mlp.h"
#include "models/mnist_task.h"
#include "models/tasks.h"

namespace flyball {

std::unique_ptr<Task> mnist_mlp() {
  return mnist_task(
      {.model = "mnist_mlp",
       .what = "Trains a multilayer perceptron on MNIST: simple is 784-128-10, complex "
               "784-256-128-64-10.",
       .variants = {"simple", "complex"},
       .default_epochs = 5,
       .presets = {{"simple-constant",
                    "the small network at a constant rate, the plain starting point",
                    {"--variant", "simple", "--schedule", "constant", "--lr", "1e-3", "--epochs",
                     "10"}},
                   {"complex-augmented",
                    "the larger network, half the rate, mirrored and rotated digits",
                    {"--variant", "complex", "--schedule", "constant", "--lr", "5e-4", "--epochs",
                     "10", "--augment", "flip-rotate"}},
                   {"complex-adaptive",
                    "the same network and data with the adaptive rate",
                    {"--variant", "complex", "--schedule", "adaptive", "--epochs", "10",
                     "--augment", "flip-rotate"}}}},
      [](const RunOptions& options, Initializer& init) {
        return make_model<Mlp>(init, options.variant == "complex" ? Mlp::complex() : Mlp::simple());
      });
}

}  // namespace flyball

#include "models/cnn.h"
#include "models/mnist_data.h"
#include "models/training_run.h"

int main(int argc, char** argv) {
  using namespace flyball;
  const TrainingProgram program{
      .binary = {.model = "mnist_cnn",
                 .what = "Trains a convolutional network on MNIST (1,199,882 parameters).",
                 .variants = {},
                 .default_epochs = 3,
                 .presets = {{"constant",
                              "twelve epochs at a constant rate of 1e-3",
                              {"--schedule", "constant", "--lr", "1e-3", "--epochs", "12"}},
                             {"adaptive",
                              "twelve epochs with the adaptive rate",
                              {"--schedule", "adaptive", "--epochs", "12"}},
                             {"quick",
                              "one epoch on 2,000 images",
                              {"--epochs", "1", "--limit-train", "2000"}}}},
      .load_data = load_mnist_for,
      .make_model = [](const RunOptions&, Initializer& init) { return make_model<Cnn>(init); }};
  return run_program(program, argc, argv);
}

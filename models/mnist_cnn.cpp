#include "models/cnn.h"
#include "models/mnist_task.h"
#include "models/tasks.h"

namespace flyball {

std::unique_ptr<Task> mnist_cnn() {
  return mnist_task({.model = "mnist_cnn",
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
                    [](const RunOptions&, Initializer& init) { return make_model<Cnn>(init); });
}

}  // namespace flyball
